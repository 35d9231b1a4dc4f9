"""verl's actor workers with the combined loss. FSDP and Megatron alike: the engine underneath is verl's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tensordict import TensorDict
from verl.experimental.separation.engine_workers import DetachActorWorker
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from tapo.core.groups import is_ref_group
from tapo.trainer.batch import shuffled_rows
from tapo.trainer.loss import KIND_FIELD, PART_FIELD, PARTS, REF_TOTALS_FIELD, ROLLOUT_TOKENS_FIELD, PerKindLoss

MINI_BATCH_FIELD = "tapo_mini_batch_size"
"""Rows of a mini-batch, constructed ones included: with it an update takes as many optimiser steps as GRPO's."""


GRAD_NORMS_FIELD = "tapo_grad_norms"
"""There where the gradient norm of each loss by itself is wanted."""
GRAD_NORM = "tapo/grad_norm/"
"""How the names of these metrics begin; a name of `PARTS` follows."""


class TapoTrainingWorker(TrainingWorker):
    """Tells the loss of each mini-batch which rows were constructed and how many there are."""

    def train_mini_batch(self, data: TensorDict) -> TensorDict:
        """verl's, with the mini-batch size that the trainer worked out.

        `actor.shuffle` is carried out here: the rollouts fall into the mini-batches that GRPO's shuffling would put
        them in, and each keeps its share of constructed rows.
        """
        size = tu.pop(data, key=MINI_BATCH_FIELD, default=None)
        if size is not None:
            tu.assign_non_tensor(data, mini_batch_size=size)
            shuffle = tu.get_non_tensor_data(data, key="dataloader_kwargs", default={}).get("shuffle", False)
            if shuffle and tu.get_non_tensor_data(data, key=REF_TOTALS_FIELD, default=None) is not None:
                data = self._shuffled(data, size)
        return super().train_mini_batch(data)

    def _shuffled(self, data: TensorDict, size: int) -> TensorDict:
        """The rows of all epochs in the order that they are trained in."""
        ranks = self.engine.get_data_parallel_size()
        rollouts = tu.get_non_tensor_data(data, key="global_batch_size", default=None) // ranks
        rows = shuffled_rows(
            mini_batches=len(data) * ranks // size,
            rollouts=rollouts,
            refs=size // ranks - rollouts,
            epochs=tu.pop(data, key="epochs", default=1),
            seed=tu.get_non_tensor_data(data, key="seed", default=42) + self.engine.get_data_parallel_rank(),
        )
        tu.maybe_fix_3d_position_ids(data)
        data = tu.index_select_tensor_dict(data, rows)
        tu.assign_non_tensor(data, epochs=1, dataloader_kwargs={"shuffle": False})
        return data

    def train_batch(self, data: TensorDict) -> TensorDict:
        """verl's, on one mini-batch."""
        is_ref = torch.tensor([is_ref_group(str(uid)) for uid in tu.get(data, "uid")], dtype=torch.bool)
        data[KIND_FIELD] = is_ref.to(data["input_ids"].device)
        # By the loss mask, as verl's engines count tokens.
        tokens = torch.tensor([int(mask.sum()) for mask in data["loss_mask"].unbind()])
        total = tokens[~is_ref].sum().to(get_device_id())
        torch.distributed.all_reduce(total, group=self.engine.get_data_parallel_group())
        tu.assign_non_tensor_data(data, ROLLOUT_TOKENS_FIELD, int(total))
        norms = self._grad_norms(data) if tu.pop(data, key=GRAD_NORMS_FIELD, default=False) else {}
        output = super().train_batch(data)
        if output is not None:
            tu.get(output, "metrics").update(norms)
        return output

    def _grad_norms(self, data: TensorDict) -> dict[str, float]:
        """The gradient norm of each loss by itself, before clipping, by a pass of verl's over the mini-batch that stops
        short of the update; empty on ranks that report nothing."""
        norms = {}
        for part in PARTS:
            alone = data.copy()
            tu.assign_non_tensor(alone, update_lr_scheduler=False, **{PART_FIELD: part})
            with without_update(self.engine), same_random_numbers():
                output = super().train_batch(alone)
            if output is not None:
                norms[GRAD_NORM + part] = tu.get(output, "metrics")["grad_norm"]
        return norms


@contextmanager
def without_update(engine: Any) -> Iterator[None]:
    """Within it the optimiser's step does nothing: parameters and moments stay as they are, and so does the scale of
    losses in half precision.

    verl's FSDP engines clip and take the norm in front of the step, and clear all gradients before the next pass.
    """
    step, scaler = engine.optimizer.step, getattr(engine, "scaler", None)
    scale = scaler.state_dict() if scaler is not None else None
    engine.optimizer.step = lambda *args, **kwargs: None
    try:
        yield
    finally:
        engine.optimizer.step = step
        if scaler is not None:
            scaler.load_state_dict(scale)


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Behind it dropout draws what it would have drawn without it."""
    name = get_device_name()
    devices = [] if name == "cpu" else [get_device_id()]
    with torch.random.fork_rng(devices, device_type=name if devices else "cuda"):
        yield


class _CombinedLoss:
    """Mixin of verl's actor workers."""

    actor_worker_cls = TapoTrainingWorker

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self: Any) -> None:
        """verl's, then the loss of each group kind."""
        super().init_model()
        if self.actor is not None:
            self.loss_fn = PerKindLoss(self.loss_fn)
            self.actor.set_loss_fn(self.loss_fn)


class TapoActorRolloutRefWorker(_CombinedLoss, ActorRolloutRefWorker):
    """The worker of the colocated trainer modes."""


class TapoDetachActorWorker(_CombinedLoss, DetachActorWorker):
    """The worker of the separate mode."""
