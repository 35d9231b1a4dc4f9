"""Difficulty-aware candidate selection (DCS)."""

import math
from collections.abc import Sequence
from typing import Protocol


class UniformSource(Protocol):
    """What `select_candidates` draws from: `random.Random` and numpy generators alike."""

    def random(self) -> float:
        """A float in [0, 1)."""


def select_candidates(
    rewards: Sequence[float],
    *,
    n_pos: int,
    n_neg: int,
    m_max: int,
    rng: UniformSource,
    threshold: float = 0.5,
) -> list[tuple[int, int]]:
    """Pair up to `m_max` wrong rollouts of one group with a randomly drawn correct sibling each.

    TAPO's candidate selection: a query is eligible iff it has at least `n_pos` correct and `n_neg` wrong rollouts, so
    mastered and hopeless queries drop out by themselves.

    Args:
        rewards: [G] scalar rewards of the group's rollouts; a rollout is correct iff its reward > `threshold`.
        n_pos, n_neg: least numbers of correct and wrong rollouts, each >= 1.
        m_max: most pairs to return; 0 returns none.
        rng: source of randomness; equal sources give equal pairs.

    Returns:
        (wrong, correct) indices into `rewards`, ordered by the wrong one and distinct in it; [] if not eligible.

    Raises:
        ValueError: a count out of range, or a reward that is NaN.
    """
    for name, got, least in (("n_pos", n_pos, 1), ("n_neg", n_neg, 1), ("m_max", m_max, 0)):
        if got < least:
            raise ValueError(f"{name} must be >= {least}, got {got}")
    if any(math.isnan(reward) for reward in rewards):
        raise ValueError(f"rewards must not be NaN, got {list(rewards)}")

    correct = [i for i, reward in enumerate(rewards) if reward > threshold]
    wrong = [i for i, reward in enumerate(rewards) if not reward > threshold]
    if len(correct) < n_pos or len(wrong) < n_neg:
        return []

    chosen = []
    for _ in range(min(m_max, len(wrong))):
        chosen.append(wrong.pop(int(rng.random() * len(wrong))))
    return [(index, correct[int(rng.random() * len(correct))]) for index in sorted(chosen)]
