"""Advantages of constructed rows: decoupled, contrasted, weighted by token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict

from tapo.config import TapoConfig
from tapo.core.advantage import decoupled_advantage
from tapo.core.suppression import ood_token_weights
from tapo.trainer.contrast import Contrast


@dataclass(frozen=True)
class RefRow:
    """A constructed row as its update saw it.

    Attributes:
        uid: its group id, ending in the reference suffix.
        source_key: the wrong rollout that it grew from.
        prefix_length: kept tokens.
        reflection_length: tokens of the recognised reflection behind them; 0 where there is none.
        reward: KL penalty included where the run has one.
        advantage: before the token weights.
        weights_T: of the response's tokens; ones where OTS is off and the prefix is trained in full.
        log_probs_T, entropy_T: of the old policy.
        answer_begin, answer_length: the tokens of the final answer, from the first on; a length of 0 where the text has
            none that is marked.
    """

    uid: str
    source_key: str
    prefix_length: int
    reflection_length: int
    reward: float
    advantage: float
    weights_T: torch.Tensor
    log_probs_T: torch.Tensor
    entropy_T: torch.Tensor
    answer_begin: int = 0
    answer_length: int = 0


def ref_rows(
    data: TensorDict,
    uids: Sequence[str],
    tags: Sequence[Mapping[str, Any]],
    contrast: Contrast | None,
    config: TapoConfig,
    algorithm: Any,
) -> list[RefRow]:
    """Normalise each G_ref by itself (TAPO, eq. 4 and 5) and weight its tokens (eq. 7).

    Args:
        data: of N rows without padding rows: right-padded `token_level_rewards`, `response_mask`, `old_log_probs` and
            `entropy`, each [N, T].
        uids, tags: of each row its group and what `REF_TAG` holds.
        contrast: what enters a group's mean and std beside its rows. With `contrast: source` the rewards of the wrong
            rollouts built upon: a signal remains when every construction succeeds.
    """
    rewards_N, mask_NT = data["token_level_rewards"].sum(dim=1), data["response_mask"].bool()
    log_probs_NT, entropy_NT = data["old_log_probs"], data["entropy"]
    by_std = algorithm.get("norm_adv_by_std_in_grpo", True)
    advantage_N = decoupled_advantage(rewards_N, uids, contrast_rewards=contrast, normalize_by_std=by_std)
    weights_NT = _token_weights(log_probs_NT, entropy_NT, tags, config)
    return [
        RefRow(
            uid=uid,
            source_key=tag["source_key"],
            prefix_length=tag["prefix_length"],
            reflection_length=tag["reflection_length"],
            reward=float(rewards_N[i]),
            advantage=float(advantage_N[i]),
            weights_T=weights_NT[i, mask_NT[i]],
            log_probs_T=log_probs_NT[i, mask_NT[i]],
            entropy_T=entropy_NT[i, mask_NT[i]],
            answer_begin=tag.get("answer_begin", 0),
            answer_length=tag.get("answer_length", 0),
        )
        for i, (uid, tag) in enumerate(zip(uids, tags, strict=True))
    ]


def _token_weights(
    log_probs_NT: torch.Tensor, entropy_NT: torch.Tensor, tags: Sequence[Mapping[str, Any]], config: TapoConfig
) -> torch.Tensor:
    """[N, T] weights of eq. 7, 1 on recognised reflections where they are spared; the kept prefix's scaled."""
    ots, weights_NT = config.ots, torch.ones_like(log_probs_NT, dtype=torch.float32)
    if ots.enable:
        weights_NT = ood_token_weights(log_probs_NT, entropy_NT, low=ots.low, high=ots.high)
    for weights_T, tag in zip(weights_NT, tags, strict=True):
        begin = tag["prefix_length"]
        weights_T[:begin] *= config.ref.prefix_weight
        if ots.spare_reflection:
            weights_T[begin : begin + tag["reflection_length"]] = 1.0
    return weights_NT
