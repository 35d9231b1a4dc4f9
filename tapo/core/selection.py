"""Difficulty-aware candidate selection (DCS)."""

import math
from collections.abc import Sequence
from typing import Protocol

from tapo.core.defaults import REWARD_THRESHOLD

PAPER_N_POS, PAPER_N_NEG = 0.25, 0.5
"""The paper's thresholds 2 and 4 as shares of its K = 8."""


def least_of(group_size: int, threshold: float) -> int:
    """A threshold in rollouts of a group: below 1 it is a share, rounded down and at least one rollout.

    The paper's are 2 and 4 of 8, 1 and 2 of 4 or 5, 16 and 32 of 64.
    """
    return int(threshold) if threshold >= 1 else max(math.floor(threshold * group_size + 1e-9), 1)


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
    threshold: float = REWARD_THRESHOLD,
    truncated: Sequence[bool] | None = None,
    truncated_wrong: bool = True,
) -> list[tuple[int, int]]:
    """Pair up to `m_max` wrong rollouts of one group with a randomly drawn correct sibling each.

    TAPO's candidate selection: a query is eligible iff it has at least `n_pos` correct and `n_neg` wrong rollouts, so
    mastered and hopeless queries drop out by themselves.

    Args:
        rewards: [G] scalar rewards of the group's rollouts; a rollout is correct iff its reward > `threshold`.
        n_pos, n_neg: least numbers of correct and wrong rollouts, each >= 1.
        m_max: most pairs to return; 0 returns none.
        rng: source of randomness; equal sources give equal pairs.
        truncated: [G] rollouts that were cut off at their length. They count as correct or wrong like any other, but
            are no sibling to learn from, and as wrong ones they come after all that ended by themselves.
        truncated_wrong: False leaves them out as wrong ones, too.

    Returns:
        (wrong, correct) indices into `rewards`, ordered by the wrong one and distinct in it; [] if not eligible, or
        if every correct rollout was cut off.

    Raises:
        ValueError: a count out of range, a reward that is NaN, or `truncated` of another length.
    """
    for name, got, least in (("n_pos", n_pos, 1), ("n_neg", n_neg, 1), ("m_max", m_max, 0)):
        if got < least:
            raise ValueError(f"{name} must be >= {least}, got {got}")
    if any(math.isnan(reward) for reward in rewards):
        raise ValueError(f"rewards must not be NaN, got {list(rewards)}")

    cut = [False] * len(rewards) if truncated is None else list(truncated)
    if len(cut) != len(rewards):
        raise ValueError(f"truncated must have one flag per reward, got {len(cut)} for {len(rewards)}")

    correct = [i for i, reward in enumerate(rewards) if reward > threshold]
    wrong = [i for i, reward in enumerate(rewards) if not reward > threshold]
    siblings = [i for i in correct if not cut[i]]
    if len(correct) < n_pos or len(wrong) < n_neg or not siblings:
        return []

    chosen: list[int] = []
    for pool in ([i for i in wrong if not cut[i]], [i for i in wrong if cut[i] and truncated_wrong]):
        for _ in range(min(m_max - len(chosen), len(pool))):
            chosen.append(pool.pop(int(rng.random() * len(pool))))
    return [(index, siblings[int(rng.random() * len(siblings))]) for index in sorted(chosen)]
