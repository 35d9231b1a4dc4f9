"""Decoupled advantage estimation (DAE)."""

from collections.abc import Hashable, Mapping, Sequence

import torch


def decoupled_advantage(
    rewards_N: torch.Tensor,
    group_ids: Sequence[Hashable],
    *,
    contrast_rewards: Mapping[Hashable, Sequence[float]] | None = None,
    normalize_by_std: bool = True,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Normalise every group by itself (TAPO, eq. 4 and 5): A_i = (r_i - mean(G)) / (std(G) + eps).

    Rollouts and constructed trajectories of a query carry different group ids, so neither shifts the other's
    baseline. The std is `torch.std`, unbiased, as in verl's GRPO. Groups of equal size are reduced together.

    Args:
        rewards_N: [N] one scalar reward per row.
        group_ids: N hashable ids; equal ids form a group.
        contrast_rewards: {group id: rewards that enter its mean and std only}. They are no rows and get no advantage.
        normalize_by_std: False only subtracts the mean (Dr. GRPO).
        eps: added to the std.

    Returns:
        float32 [N]. A group of one reward, contrast included, or of zero spread has zero advantage.

    Raises:
        ValueError: `rewards_N` is not one-dimensional, `group_ids` has another length, or `contrast_rewards` names
            a group that has no row.
    """
    if rewards_N.dim() != 1 or len(group_ids) != rewards_N.shape[0]:
        raise ValueError(f"need rewards of shape [N] and N group ids, got {tuple(rewards_N.shape)}, {len(group_ids)}")
    rows_by_group: dict[Hashable, list[int]] = {}
    for row, group in enumerate(group_ids):
        rows_by_group.setdefault(group, []).append(row)
    contrast = contrast_rewards or {}
    if unknown := set(contrast) - set(rows_by_group):
        raise ValueError(f"contrast_rewards names groups without a row: {sorted(map(str, unknown))}")

    rewards = rewards_N.detach().float()
    advantages = torch.zeros_like(rewards)
    groups_by_shape: dict[tuple[int, int], list[Hashable]] = {}
    for group, rows in rows_by_group.items():
        groups_by_shape.setdefault((len(rows), len(contrast.get(group, ()))), []).append(group)

    for (n_rows, n_contrast), groups in groups_by_shape.items():
        if n_rows + n_contrast == 1:
            continue
        rows_FG = torch.tensor([rows_by_group[group] for group in groups], device=rewards.device)
        members = rewards[rows_FG]
        if n_contrast:
            extra = torch.tensor([list(map(float, contrast[group])) for group in groups], device=rewards.device)
            members = torch.cat([members, extra], dim=1)
        centred = members[:, :n_rows] - members.mean(dim=1, keepdim=True)
        if normalize_by_std:
            centred = centred / (members.std(dim=1, keepdim=True) + eps)
        # Equal rewards whose mean rounds (0.1 + 0.1 + 0.1) would leave a residue that eps blows up.
        spread = members.amax(dim=1, keepdim=True) > members.amin(dim=1, keepdim=True)
        advantages[rows_FG] = torch.where(spread, centred, torch.zeros_like(centred))
    return advantages
