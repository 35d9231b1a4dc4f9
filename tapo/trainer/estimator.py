"""The advantage estimator `tapo`, as verl's registry wants it."""

from collections import Counter
from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import register_adv_est

from tapo.core.advantage import decoupled_advantage
from tapo.core.groups import is_ref_group


@register_adv_est("tapo")
def compute_tapo_advantage(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, config: Any = None, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalise each group by itself; for rollouts these are GRPO's advantages.

    Args:
        token_level_rewards: [N, T]; their sum is a row's reward.
        response_mask: [N, T].
        index: [N] group ids (verl's `uid`).
        config: `config.algorithm`; `norm_adv_by_std_in_grpo` is honoured, as by GRPO.

    Returns:
        (advantages, returns), both [N, T] and equal.
    """
    rewards = token_level_rewards.sum(dim=-1)
    by_std = True if config is None else config.get("norm_adv_by_std_in_grpo", True)
    uids = list(map(str, index))
    advantages = decoupled_advantage(rewards, uids, normalize_by_std=by_std)
    sizes = Counter(uids)
    lone = torch.tensor([sizes[uid] == 1 and not is_ref_group(uid) for uid in uids], dtype=torch.bool)
    # verl's GRPO gives a rollout without siblings (the others failed) its raw reward, divided by 1 + epsilon.
    advantages[lone] = rewards[lone].float() / (1 + 1e-6) if by_std else rewards[lone].float()
    advantages_NT = advantages.unsqueeze(-1) * response_mask
    return advantages_NT, advantages_NT
