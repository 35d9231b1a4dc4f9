"""verl's actor workers with the divergence from the teacher in their loss (FSDP)."""

from typing import Any

from tensordict import TensorDict
from verl.experimental.separation.engine_workers import DetachActorWorker
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils import tensordict_utils as tu
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from tapo.baselines.opsd.loss import LOSS_FIELD, OpsdLoss


class OpsdTrainingWorker(TrainingWorker):
    """Has the engine show its logits to the loss."""

    def train_batch(self, data: TensorDict) -> TensorDict:
        """verl's, on one mini-batch; its trainer says so for teacher models of their own alone."""
        if tu.get_non_tensor_data(data, key=LOSS_FIELD, default=None) is not None:
            tu.assign_non_tensor(data, distillation_use_topk=True)
        return super().train_batch(data)


class _WithDivergence:
    """Mixin of verl's actor workers."""

    actor_worker_cls = OpsdTrainingWorker

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self: Any) -> None:
        """verl's, then the loss; the reference policy, where it is the teacher, is shown its logits by the same one."""
        super().init_model()
        if self.actor is not None:
            self.loss_fn = OpsdLoss(self.loss_fn)
            self.actor.set_loss_fn(self.loss_fn)
        if self.ref is not None:
            self.ref.set_loss_fn(OpsdLoss(None))


class OpsdActorRolloutRefWorker(_WithDivergence, ActorRolloutRefWorker):
    """The worker of the colocated trainer modes."""


class OpsdDetachActorWorker(_WithDivergence, DetachActorWorker):
    """The worker of the separate mode."""
