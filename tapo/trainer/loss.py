"""The combined loss: L = L_GRPO(G_orig) + lambda * L_ref(G_ref), each over its own tokens or rows (TAPO, eq. 6)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric

KIND_FIELD = "tapo_is_ref"
"""[N] bool per row of a mini-batch: constructed or not."""
COUNTS_FIELD = "tapo_mini_batch_counts"
"""`MiniBatchCounts` of the mini-batch, the same on every rank."""
LAMBDA_FIELD = "tapo_lambda_ref"


@dataclass(frozen=True)
class MiniBatchCounts:
    """What the two losses are normalised over: totals of one mini-batch across data-parallel ranks."""

    rollout_tokens: int
    ref_tokens: int
    ref_rows: int


class PerKindLoss:
    """Evaluates a loss function of verl once per group kind, each with its own normalisation.

    Two evaluations rather than one with rescaled advantages, because a run's KL and entropy terms then follow the same
    rule, and so does a policy loss that is not linear in its advantages. The forward pass is shared.
    """

    def __init__(self, loss_fn: Callable[..., tuple[torch.Tensor, dict[str, Any]]]):
        self.loss_fn = loss_fn

    def __call__(
        self, model_output: Any, data: TensorDict, dp_group: Any = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """verl's loss interface: one micro-batch's share of the mini-batch's loss, and its metrics.

        Without constructed rows in the mini-batch it is the wrapped loss, untouched. Metrics are the rollouts'.
        """
        counts: MiniBatchCounts | None = tu.get_non_tensor_data(data, key=COUNTS_FIELD, default=None)
        if counts is None or counts.ref_rows == 0:
            return self.loss_fn(model_output=model_output, data=data, dp_group=dp_group)
        is_ref = data[KIND_FIELD]
        rollouts = restrict(data, ~is_ref, tokens=counts.rollout_tokens)
        refs = restrict(data, is_ref, tokens=counts.ref_tokens, rows=counts.ref_rows)
        loss, metrics = self.loss_fn(model_output=model_output, data=rollouts, dp_group=dp_group)
        metrics = {key: token_weighted(value, rollouts) for key, value in metrics.items()}
        ref_loss, ref_metrics = self.loss_fn(model_output=model_output, data=refs, dp_group=dp_group)
        metrics["actor/tapo_ref_pg_loss"] = ref_metrics["actor/pg_loss"]
        return loss + data[LAMBDA_FIELD] * ref_loss, metrics


def restrict(data: TensorDict, keep_N: torch.Tensor, *, tokens: int, rows: int | None = None) -> TensorDict:
    """The micro-batch with the response mask of other rows cleared, normalised over `tokens` and `rows`.

    Fully masked rows take no part in any of verl's loss aggregations. `rows` stays verl's own for None.
    """
    part = data.copy()
    rows_T = [mask_T * kept for mask_T, kept in zip(data["response_mask"].unbind(), keep_N.tolist(), strict=True)]
    part["response_mask"] = torch.nested.as_nested_tensor(rows_T, layout=torch.jagged)
    tu.assign_non_tensor(part, batch_num_tokens=max(tokens, 1))
    if rows is not None:
        tu.assign_non_tensor(part, global_batch_size=rows)
    return part


def token_weighted(metric: Any, part: TensorDict) -> Any:
    """A mean over micro-batches as a mean over tokens.

    verl averages such metrics over micro-batches; one that holds constructed rows alone would count as a zero.
    """
    if not isinstance(metric, Metric) or metric.aggregation is not AggregationType.MEAN:
        return metric
    share = part["response_mask"].values().sum().item() / part["batch_num_tokens"] * part["dp_size"]
    return Metric(value=metric.aggregate() * share, aggregation=AggregationType.SUM)
