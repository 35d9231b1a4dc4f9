"""The trainer modes `tapo_sync`, `tapo_colocate_async` and `tapo_separate_async`."""

import logging
import math
from collections.abc import Callable
from typing import Any

import ray
from omegaconf import DictConfig
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from tapo.config import ConfigError
from tapo.core.groups import REPORT_TAG
from tapo.launch.checks import TRAINER_MODES, uses_tapo
from tapo.launch.cluster import check_cluster
from tapo.launch.contract import check_contract
from tapo.launch.prepare import prepare_run
from tapo.records import RecordWriter, TrainedRecord
from tapo.rollout.group_report import NO_CORRECT_KEY, GroupReport
from tapo.rollout.watch import Watch, watched
from tapo.trainer import estimator  # noqa: F401  (registers the advantage estimator)
from tapo.trainer.actor import (
    GRAD_NORM,
    GRAD_NORMS_FIELD,
    MINI_BATCH_FIELD,
    TapoActorRolloutRefWorker,
    TapoDetachActorWorker,
)
from tapo.trainer.advantages import RefAdvantages
from tapo.trainer.batch import complete, deal, interleave, is_padding, select, split
from tapo.trainer.loss import LAMBDA_FIELD, REF_TOTALS_FIELD, ref_totals, rollout_totals
from tapo.trainer.metrics import step_metrics
from tapo.trainer.ref_advantage import RefRow
from tapo.trainer.trained_rows import dump_trained_rows, log_rows, trajectory_rows
from tapo.transfer import KVBatchMeta

logger = logging.getLogger(__name__)

ACTOR_ROLES = (Role.Actor, Role.ActorRollout, Role.ActorRolloutRef)


class TapoTrainer(RefAdvantages):
    """Mixin of verl's trainers: the stages of a step, on rollouts as verl runs them and on constructed rows beside.

    Rollouts pass through verl's own methods alone, in the batch that GRPO would give them, so that neither their
    advantages and losses nor their metrics change.
    """

    actor_worker_cls: type = TapoActorRolloutRefWorker

    def __init__(self: Any, config: DictConfig):
        check_contract()
        self.tapo = prepare_run(config)
        check_cluster()
        self._ref_rows: dict[str, RefRow] = {}
        self._warned_of_nothing = False
        self._trained_dump = RecordWriter(self.tapo.dump_dir, TrainedRecord)
        super().__init__(config)

    def _init_resource_pool_mgr(self: Any) -> None:
        super()._init_resource_pool_mgr()
        for role in ACTOR_ROLES:
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(self.actor_worker_cls)

    def fit(self: Any, agent_loop_manager: Any) -> None:
        watched(self.replay_buffer, Watch(agent_loop_manager.agent_loop_workers))
        super().fit(agent_loop_manager)

    def _balance_batch(self: Any, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> KVBatchMeta:
        rollouts, refs = split(batch)
        rollouts = super()._balance_batch(rollouts, metrics, *args, **kwargs)
        refs = complete(refs)
        if len(refs) == 0:
            return rollouts
        ranks = max(self.actor_rollout_wg._dispatch_info["actor"]) + 1
        chunks = ranks * self._mini_batches(rollouts)
        multiple = chunks * self._micro_batch_multiple()
        refs = upsample_batch_to_divisible_size(refs, multiple, self.tokenizer.eos_token_id)
        refs.reorder(deal(refs.tags, ranks=ranks, mini_batches=chunks // ranks))
        return interleave(rollouts, refs, chunks)

    def _mini_batches(self: Any, rollouts: KVBatchMeta) -> int:
        """Optimiser updates of one epoch over the rollouts: as many as GRPO makes."""
        if self.config.trainer.critic_warmup > self.global_steps:
            return 1
        actor_rollout_ref = self.config.actor_rollout_ref
        size = actor_rollout_ref.actor.ppo_mini_batch_size * actor_rollout_ref.rollout.n
        assert len(rollouts) % size == 0, f"{len(rollouts)} rollouts in mini-batches of {size}"
        return len(rollouts) // size

    def _micro_batch_multiple(self: Any) -> int:
        """What a rank's rows of a mini-batch must be a multiple of: every fixed micro-batch size that it meets."""
        config = self.config.actor_rollout_ref
        sizes = []
        if not config.actor.use_dynamic_bsz:
            sizes.append(config.actor.ppo_micro_batch_size_per_gpu)
        if not config.rollout.log_prob_use_dynamic_bsz:
            sizes.append(config.rollout.log_prob_micro_batch_size_per_gpu)
        if self.use_reference_policy and not config.ref.get("log_prob_use_dynamic_bsz", False):
            sizes.append(config.ref.get("log_prob_micro_batch_size_per_gpu"))
        multiple = math.lcm(1, *(size for size in sizes if size))
        megatron = config.actor.get("megatron") or {}
        if (megatron.get("virtual_pipeline_model_parallel_size") or 1) > 1:
            # The interleaved schedule wants micro-batches in groups of the pipeline's size, however they are made.
            multiple *= megatron.get("pipeline_model_parallel_size", 1)
        return multiple

    def _update_actor(self: Any, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        rollouts, refs = split(batch)
        lambda_ref = self._lambda_ref()
        # With lambda_ref = 0 constructed rows stay out of the update altogether: it is GRPO's, bit by bit.
        part = select(batch, list(range(len(batch)))) if lambda_ref else rollouts
        mini_batches = self._mini_batches(rollouts)
        part.extra_info[MINI_BATCH_FIELD] = len(part) // mini_batches
        part.extra_info[LAMBDA_FIELD] = lambda_ref
        if len(part) > len(rollouts):
            own = self.tapo.ref.normalization == "own"
            totals = ref_totals(refs.tags, mini_batches) if own else rollout_totals(rollouts.tags)
            part.extra_info[REF_TOTALS_FIELD] = totals
            if is_due(self.tapo.ref.grad_norms_every, self.global_steps):
                part.extra_info[GRAD_NORMS_FIELD] = True
        super()._update_actor(part, metrics)
        # verl puts its prefix in front of whatever its workers report.
        for name in [name for name in metrics if name.startswith(f"actor/{GRAD_NORM}")]:
            metrics[name.removeprefix("actor/")] = metrics.pop(name)
        return batch

    def _lambda_ref(self: Any) -> float:
        """The weight of the constructed rows' loss in this step."""
        total = 1 if self.tapo.lambda_schedule.shape == "constant" else self.total_training_steps
        return self.tapo.lambda_at(self.global_steps, total)

    def _compute_metrics(self: Any, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> None:
        rollouts, _ = split(batch)
        super()._compute_metrics(rollouts, metrics, *args, **kwargs)
        reports = [
            GroupReport.from_tag(tag[REPORT_TAG]) for tag in rollouts.tags if REPORT_TAG in tag and not is_padding(tag)
        ]
        report = GroupReport.total_of(reports)
        self._say_when_nothing_is_constructed(report)
        tokens = sum(tag["response_len"] for tag in rollouts.tags if not is_padding(tag))
        checks = self.tapo.construction.check is not None
        dump_trained_rows(self._trained_dump, batch, self._ref_rows, step=self.global_steps)
        report.dump_lost += self._trained_dump.take_lost()
        dumps = self._trained_dump.path is not None
        metrics |= step_metrics(report, self._ref_rows.values(), rollout_tokens=tokens, checks=checks, dumps=dumps)
        metrics["tapo/lambda_ref"] = self._lambda_ref()
        if is_due(self.tapo.log_trajectories_every, step := self.global_steps):
            rows = trajectory_rows(self._ref_rows, batch.partition_id, self.tokenizer, self.tapo, step)
            log_rows(self.logger.logger, rows, step)
        self._ref_rows = {}

    def _say_when_nothing_is_constructed(self: Any, report: GroupReport) -> None:
        """A run must not train as without TAPO unnoticed.

        Raises:
            ConfigError: no reward says what `correct_key` asks for.
        """
        if report.usable or not report.left_alone:
            return
        if without := [reason for reason in report.left_alone if reason.startswith(NO_CORRECT_KEY)]:
            raise ConfigError("algorithm.tapo.correct_key", self.tapo.correct_key, without[0])
        if not self._warned_of_nothing:
            self._warned_of_nothing = True
            logger.warning("TAPO constructs nothing: every group is left alone, for %s", ", ".join(report.left_alone))


def is_due(every: int, step: int) -> bool:
    """Whether what happens every so many steps, 0 never, happens in this one."""
    return bool(every) and step % every == 0


class SplitLogProbs(PPOTrainer):
    """Old log-probs of rollouts and of constructed rows, each on their own.

    A base of verl's trainers in the method order, so that whatever a trainer does around the computation (the separate
    mode copies the model) is done once for both.
    """

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        rollouts, refs = split(batch)
        super()._compute_old_log_prob(rollouts, metrics)
        if len(refs):
            # No engine sampled constructed rows from their query, so that bypass mode has nothing to take over.
            correction: Any = self.config.algorithm.get("rollout_correction") or {}
            bypasses = correction.get("bypass_mode", False)
            try:
                if bypasses:
                    correction.bypass_mode = False
                # verl's entropy and rollout-difference metrics cover the rollouts alone.
                super()._compute_old_log_prob(refs, {})
            finally:
                if bypasses:
                    correction.bypass_mode = True
        return batch


@register_trainer("tapo_sync")
class TapoTrainerSync(TapoTrainer, PPOTrainerSync, SplitLogProbs):
    """Rollout and training take turns on the same devices."""


@register_trainer("tapo_colocate_async")
class TapoTrainerColocateAsync(TapoTrainer, PPOTrainerColocateAsync, SplitLogProbs):
    """As `tapo_sync`, with unfinished rollouts and constructions carried over to the next step."""


@register_trainer("tapo_separate_async")
class TapoTrainerSeparateAsync(TapoTrainer, PPOTrainerSeparateAsync, SplitLogProbs):
    """Rollout on devices of its own."""

    actor_worker_cls = TapoDetachActorWorker


def chosen_by_group(
    plain: type[PPOTrainer], variant: type[PPOTrainer], chosen: Callable[[DictConfig], bool] = uses_tapo
) -> type[PPOTrainer]:
    """A trainer class that is `variant` in a run that loads the variant's config group, and `plain` in any other.

    It stands under verl's own mode name: a mode given on the command line wins over the group, and the run would train
    without TAPO.

    Args:
        chosen: whether a run's config has the group.
    """

    class ChosenByGroup(plain):  # type: ignore[valid-type, misc]
        def __new__(cls, config: DictConfig) -> Any:
            if cls is not ChosenByGroup:
                return super().__new__(cls)
            return (variant if chosen(config) else plain)(config)

    ChosenByGroup.__name__, ChosenByGroup.__doc__ = plain.__name__, plain.__doc__
    return ChosenByGroup


for _tapo_mode, _mode in TRAINER_MODES.items():
    TRAINER_REGISTRY[_mode] = chosen_by_group(TRAINER_REGISTRY[_mode], TRAINER_REGISTRY[_tapo_mode])
