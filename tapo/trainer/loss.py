"""The combined loss: L = L_GRPO(G_orig) + lambda * L_ref(G_ref), and what each is divided by (TAPO, eq. 6)."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric

from tapo.trainer.batch import is_padding

KIND_FIELD = "tapo_is_ref"
"""[N] bool per row of a mini-batch: constructed or not."""
ROLLOUT_TOKENS_FIELD = "tapo_rollout_tokens"
"""Of the mini-batch, over all data-parallel ranks, as in GRPO."""
REF_TOTALS_FIELD = "tapo_ref_totals"
"""`RefTotals` of the update; not there without constructed rows."""
LAMBDA_FIELD = "tapo_lambda_ref"
PART_FIELD = "tapo_part"
"""One of `PARTS` where a loss is wanted by itself; not there in an update."""
PARTS = ("rollouts", "construct")

AVERAGES_BY_ITSELF = "geo_mean"
"""The policy loss that averages over the rows of each micro-batch, whatever `loss_agg_mode` says."""


@dataclass(frozen=True)
class RefTotals:
    """What L_ref is divided by in each mini-batch of one update.

    `ref.normalization: own` divides by the update's constructed rows, as a share for one mini-batch, rather than by
    what the mini-batch happens to hold: few rows fall into it, one or five, and so a constructed row weighs the same
    wherever it falls, and the mini-batches' L_ref add up to that of one whole batch times their number.

    `rollouts` divides by what GRPO divides the rollouts of the same mini-batch by. A constructed token then weighs
    exactly as the rollouts' tokens beside it, in every mini-batch, whatever its number of rows. What that weight is
    varies between mini-batches as it does for rollouts themselves in GRPO: by a few per cent in token modes, since a
    mini-batch always holds as many rollouts, and not at all in row modes. A share of the update's rollout tokens would
    fix the constructed row's weight instead, and set it off against the rollouts of its own mini-batch.

    Attributes:
        tokens, rows: response tokens and rows, divided by the number of mini-batches; None: the rollouts' own.
        longest: response tokens of the longest row of the update.
    """

    tokens: float | None
    rows: float | None
    longest: int


def ref_totals(tags: Sequence[dict], mini_batches: int) -> RefTotals:
    """`RefTotals` of an update's constructed rows by their tags in TransferQueue, padding left out."""
    lengths = _lengths(tags)
    return RefTotals(sum(lengths) / mini_batches, len(lengths) / mini_batches, max(lengths))


def rollout_totals(tags: Sequence[dict]) -> RefTotals:
    """`RefTotals` that leave L_ref to the rollouts' denominators, by the tags of the update's rollouts.

    verl divides by the longest response of each micro-batch where `seq-mean-token-sum-norm` has no scale factor, and a
    micro-batch may hold no rollout: constructed rows are then divided by the longest rollout of the update.
    """
    return RefTotals(None, None, max(_lengths(tags)))


def _lengths(tags: Sequence[dict]) -> list[int]:
    return [tag["response_len"] for tag in tags if not is_padding(tag)]


class PerKindLoss:
    """Evaluates a loss function of verl once per group kind, each normalised as `RefTotals` says.

    Two evaluations rather than one with rescaled advantages, because a run's KL and entropy terms then follow the same
    rule, and so does a policy loss that is not linear in its advantages. The forward pass is shared.

    Args:
        loss_fn: verl's `ppo_loss` with the actor's config bound to it.
    """

    def __init__(self, loss_fn: partial):
        self.loss_fn: Callable[..., tuple[torch.Tensor, dict[str, Any]]] = loss_fn
        self.config = loss_fn.keywords["config"]

    def __call__(
        self, model_output: Any, data: TensorDict, dp_group: Any = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """verl's loss interface: one micro-batch's share of the mini-batch's loss, and its metrics.

        Without constructed rows in the update it is the wrapped loss, untouched. Metrics are the rollouts'.
        """
        totals: RefTotals | None = tu.get_non_tensor_data(data, key=REF_TOTALS_FIELD, default=None)
        if totals is None:
            return self.loss_fn(model_output=model_output, data=data, dp_group=dp_group)
        is_ref = data[KIND_FIELD]
        rollout_tokens = data[ROLLOUT_TOKENS_FIELD]
        rollouts = restrict(data, ~is_ref, tokens=rollout_tokens)
        tokens = rollout_tokens if totals.tokens is None else totals.tokens
        refs = restrict(data, is_ref, tokens=tokens, rows=totals.rows)
        if totals.rows is not None and self.config.policy_loss.get("loss_mode") == AVERAGES_BY_ITSELF:
            refs["advantages"] = refs["advantages"] * (data["global_batch_size"] / totals.rows)
        part = tu.get_non_tensor_data(data, key=PART_FIELD, default=None)
        if part == "construct":
            ref_loss, metrics = self._evaluate(model_output, refs, dp_group, lambda: totals.longest)
            return data[LAMBDA_FIELD] * ref_loss, metrics
        loss, metrics = self._evaluate(model_output, rollouts, dp_group, lambda: longest_response(data, ~is_ref))
        if part == "rollouts":
            return loss, metrics
        metrics = {key: token_weighted(value, rollouts) for key, value in metrics.items()}
        ref_loss, ref_metrics = self._evaluate(model_output, refs, dp_group, lambda: totals.longest)
        metrics["actor/tapo_ref_pg_loss"] = ref_metrics["actor/pg_loss"]
        return loss + data[LAMBDA_FIELD] * ref_loss, metrics

    def _evaluate(
        self, model_output: Any, part: TensorDict, dp_group: Any, horizon: Callable[[], int]
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """The wrapped loss; where it divides by the longest response of the micro-batch, by that of its own kind."""
        config = self.config
        if config.loss_agg_mode == "seq-mean-token-sum-norm" and config.loss_scale_factor is None:
            config = dataclasses.replace(config, loss_scale_factor=horizon())
        if part["response_mask"].values().any():
            return self.loss_fn(model_output=model_output, data=part, dp_group=dp_group, config=config)
        # Some losses refuse a micro-batch without a token, and every one must give the same metrics: it is evaluated
        # on other rows' tokens, and counts for nothing.
        part = part.copy()
        part["response_mask"] = torch.ones_like(part["response_mask"])
        loss, metrics = self.loss_fn(model_output=model_output, data=part, dp_group=dp_group, config=config)
        return 0.0 * loss, {key: nothing(value) for key, value in metrics.items()}


def restrict(data: TensorDict, keep_N: torch.Tensor, *, tokens: float, rows: float | None = None) -> TensorDict:
    """The micro-batch with the response mask of other rows cleared, normalised over `tokens` and `rows`.

    Fully masked rows take no part in any of verl's loss aggregations. `rows` stays verl's own for None.
    """
    part = data.copy()
    rows_T = [mask_T * kept for mask_T, kept in zip(data["response_mask"].unbind(), keep_N.tolist(), strict=True)]
    part["response_mask"] = torch.nested.as_nested_tensor(rows_T, layout=torch.jagged)
    tu.assign_non_tensor(part, batch_num_tokens=tokens or 1)
    if rows is not None:
        tu.assign_non_tensor(part, global_batch_size=rows)
    return part


def longest_response(data: TensorDict, keep_N: torch.Tensor) -> int:
    """Tokens of the longest response among the kept rows; 1 if there is none, as of a padding row."""
    lengths_N = data["responses"].offsets().diff()
    return max(int(lengths_N[keep_N.to(lengths_N.device)].max()), 1) if bool(keep_N.any()) else 1


def nothing(metric: Any) -> Any:
    """A metric of the same kind that adds nothing."""
    return Metric(value=0.0, aggregation=metric.aggregation) if isinstance(metric, Metric) else metric


def token_weighted(metric: Any, part: TensorDict) -> Any:
    """A mean over micro-batches as a mean over tokens.

    verl averages such metrics over micro-batches; one that holds constructed rows alone would count as a zero.
    """
    if not isinstance(metric, Metric) or metric.aggregation is not AggregationType.MEAN:
        return metric
    share = part["response_mask"].values().sum().item() / part["batch_num_tokens"] * part["dp_size"]
    return Metric(value=metric.aggregate() * share, aggregation=AggregationType.SUM)
