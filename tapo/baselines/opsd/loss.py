"""verl's policy loss, and beside it the divergence from the teacher over the vocabulary."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.padding import no_padding_2_padding

from tapo.baselines.opsd.divergence import token_divergence, top_k_log_probs

TEACHER_FIELD = "opsd_teacher"
"""`TeacherPass` of a forward pass over the teacher's rows."""
LOSS_FIELD = "opsd_loss"
"""`DivergenceLoss` of an update."""
LOG_PROBS_FIELD, IDS_FIELD = "teacher_logprobs", "teacher_ids"
"""verl's names for a teacher's [L, K] at each position of a row, which its padding rows know."""
MASK_FIELD = "opsd_mask"
"""[N, T]: the response tokens that have a teacher."""
DIVERGENCE = "opsd_divergence"


@dataclass(frozen=True)
class TeacherPass:
    """What is kept of the teacher's distribution: `top_k` entries, None for all."""

    top_k: int | None


@dataclass(frozen=True)
class DivergenceLoss:
    """Which divergence is minimised, and its weight."""

    direction: str
    coefficient: float
    clip: float | None


class OpsdLoss:
    """A loss function of verl with the divergence added.

    verl's engines call it twice for each micro-batch of a distillation: with the logits, then with what has become of
    them. In the teacher's pass it hands on the teacher's distribution, in an update the divergence of the student's.

    Args:
        loss_fn: verl's `ppo_loss` with the actor's config bound to it; None for a model that is a teacher alone.
    """

    def __init__(self, loss_fn: partial | None):
        self.loss_fn = loss_fn
        self.config = loss_fn.keywords["config"] if loss_fn else None
        self._teacher: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(
        self,
        model_output: Any = None,
        data: TensorDict | None = None,
        dp_group: Any = None,
        student_logits: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """verl's interface: with `student_logits` [1, T, V], further outputs of the model by name, each [1, T]; else
        the loss of a micro-batch and its metrics."""
        assert data is not None
        teacher: TeacherPass | None = tu.get_non_tensor_data(data, key=TEACHER_FIELD, default=None)
        if student_logits is not None:
            if teacher is None:
                return {DIVERGENCE: self._divergence(student_logits[0], data).unsqueeze(0)}
            # Outputs of the model are one number a token to verl, so these wait for the second call.
            self._teacher = top_k_log_probs(student_logits[0], teacher.top_k)
            return {}
        if teacher is not None:
            model_output.update(self._taken(model_output["log_probs"].offsets()))
            return model_output["log_probs"].values().sum() * 0.0, {}
        assert self.loss_fn is not None
        loss, metrics = self.loss_fn(model_output=model_output, data=data, dp_group=dp_group)
        if DIVERGENCE not in model_output:
            return loss, metrics
        divergence = self._aggregated(model_output[DIVERGENCE], data)
        metrics[f"actor/{DIVERGENCE}"] = Metric(value=divergence, aggregation=AggregationType.SUM)
        return loss + self._settings(data).coefficient * divergence, metrics

    def _divergence(self, logits_TV: torch.Tensor, data: TensorDict) -> torch.Tensor:
        settings = self._settings(data)
        log_probs_TK, ids_TK = data[LOG_PROBS_FIELD].values(), data[IDS_FIELD].values()
        return token_divergence(logits_TV, log_probs_TK, ids_TK, direction=settings.direction, clip=settings.clip)

    def _settings(self, data: TensorDict) -> DivergenceLoss:
        settings: DivergenceLoss = tu.get_non_tensor_data(data, key=LOSS_FIELD, default=None)
        return settings

    def _taken(self, offsets: torch.Tensor) -> dict[str, torch.Tensor]:
        assert self._teacher is not None
        kept, self._teacher = self._teacher, None
        names = (LOG_PROBS_FIELD, IDS_FIELD)
        return {
            name: torch.nested.nested_tensor_from_jagged(values, offsets)
            for name, values in zip(names, kept, strict=True)
        }

    def _aggregated(self, divergence: torch.Tensor, data: TensorDict) -> torch.Tensor:
        """Over the rollouts' tokens or rows as `loss_agg_mode` says; those without a teacher count as zeros."""
        assert self.config is not None
        return agg_loss(
            loss_mat=no_padding_2_padding(divergence, data),
            loss_mask=data[MASK_FIELD].to_padded_tensor(0).bool(),
            loss_agg_mode=self.config.loss_agg_mode,
            **self.config.global_batch_info,
        )
