"""What a group's rewards are compared with beside its own rows: the contrast of G_ref, and the control without
decoupling."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

import torch

from tapo.core.advantage import decoupled_advantage
from tapo.core.groups import query_group, ref_group

Contrast = Mapping[Hashable, Sequence[float]]
"""{group: rewards that enter its mean and std without being rows of it}."""


def contrast_of(groups: Iterable[str], rewards: Iterable[float]) -> dict[Hashable, list[float]]:
    """The rewards by group, in their order."""
    contrast: defaultdict[Hashable, list[float]] = defaultdict(list)
    for group, reward in zip(groups, rewards, strict=True):
        contrast[group].append(reward)
    return dict(contrast)


def last_outputs(keys: Iterable[str]) -> dict[str, str]:
    """{session: key of its last output} of rollouts by their keys `<query>_<session>_<output>`: what GRPO compares."""
    last: dict[str, str] = {}
    for key in keys:
        session = session_of(key)
        if session not in last or output_number(last[session]) < output_number(key):
            last[session] = key
    return last


def session_of(key: str) -> str:
    """The session that a row is an output of."""
    return key.rpartition("_")[0]


def output_number(key: str) -> int:
    """Which of its session's outputs a row is."""
    return int(key.rpartition("_")[2])


def query_of(key: str) -> str:
    """The query that a row of either kind belongs to."""
    return query_group(key.rsplit("_", 2)[0])


def coupled_advantages(
    reward: Mapping[str, float], constructed: Contrast, *, normalize_by_std: bool
) -> dict[str, float]:
    """Advantages of rollouts whose group holds its constructed rows too: one mean and one std over both.

    Args:
        reward: {key: reward} of the last output of each session.
        constructed: {query: rewards of its constructed rows}.

    Returns:
        {key: advantage}.
    """
    keys, rewards = list(reward), torch.tensor(list(reward.values()))
    groups = [query_of(key) for key in keys]
    # verl may have dropped all of a query's rollouts, as too far off the policy.
    contrast: Contrast = {query: constructed[query] for query in set(groups)}
    advantages = decoupled_advantage(rewards, groups, contrast_rewards=contrast, normalize_by_std=normalize_by_std)
    return dict(zip(keys, advantages.tolist(), strict=True))


def contrast_with(reward: Mapping[str, float]) -> dict[Hashable, list[float]]:
    """{group of constructed rows: rewards of the query's rollouts}, from those of the rollouts by key."""
    return contrast_of((ref_group(query_of(key)) for key in reward), reward.values())
