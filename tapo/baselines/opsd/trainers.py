"""The trainer modes `opsd_sync`, `opsd_colocate_async` and `opsd_separate_async`."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import ray
import torch
from omegaconf import DictConfig
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from tapo import transfer
from tapo.baselines.opsd.actor import OpsdActorRolloutRefWorker, OpsdDetachActorWorker
from tapo.baselines.opsd.checks import TRAINER_MODES, context_length, prepare_opsd_run
from tapo.baselines.opsd.config import uses_opsd
from tapo.baselines.opsd.loss import LOSS_FIELD, MASK_FIELD, TEACHER_FIELD, DivergenceLoss, TeacherPass
from tapo.baselines.opsd.metrics import Lesson, TaughtRow, step_metrics
from tapo.baselines.opsd.privileged import NoTeacher, Rollout, privileged_messages, solutions
from tapo.baselines.opsd.teacher import Taught, TeacherRow, divergence_fields, put_teacher_rows, take_teacher_rows
from tapo.chat import prompt_ids
from tapo.core.tokens import response_text, turn_end_ids
from tapo.launch.cluster import check_cluster
from tapo.launch.contract import check_contract
from tapo.options import ConfigError
from tapo.rollout.group import Judge
from tapo.trainer.batch import is_padding, select
from tapo.trainer.trainers import ACTOR_ROLES, chosen_by_group
from tapo.transfer import KVBatchMeta


class OpsdTrainer:
    """Mixin of verl's trainers: the log-ratio of teacher and student as advantage, or their divergence as loss."""

    actor_worker_cls: type = OpsdActorRolloutRefWorker

    def __init__(self: Any, config: DictConfig):
        check_contract()
        self.opsd = prepare_opsd_run(config)
        check_cluster()
        self._taught: dict[str, Taught] = {}
        self._rollouts: list[Rollout] = []
        self._lesson = Lesson()
        self._context = context_length(config)
        super().__init__(config)

    def _init_resource_pool_mgr(self: Any) -> None:
        super()._init_resource_pool_mgr()
        for role in (*ACTOR_ROLES, Role.RefPolicy) if self.opsd.direction else ():
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(self.actor_worker_cls)

    def _compute_advantage(self: Any, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch = super()._compute_advantage(batch, metrics)
        names = ["advantages", "response_mask", "old_log_probs"]
        data = transfer.read_fields(batch.keys, batch.partition_id, names)
        rows, rollouts = [], {rollout.key: rollout for rollout in self._rollouts}
        for key, *values in zip(batch.keys, *(data[name].unbind() for name in names), strict=True):
            advantages, mask, student = values
            advantages = advantages if self.opsd.task_rewards else torch.zeros_like(advantages)
            taught = self._taught.get(key)
            if taught is not None:
                ratio = (taught.log_probs_T - student) * mask
                self._lesson.rows.append(self._taught_row(rollouts[key], ratio[mask.bool()], taught, mask.bool()))
                if not self.opsd.direction:
                    advantages = advantages + self.opsd.coefficient * self._clipped(ratio)
            rows.append({"advantages": advantages, "returns": advantages})
        transfer.write_fields(batch.keys, batch.partition_id, list_of_dict_to_tensordict(rows))
        if self.opsd.direction and self._taught:
            self._write_divergence_fields(batch, data["response_mask"].unbind())
            # verl's batch names the fields that it knows of, and the update would be given no others.
            batch = select(batch, list(range(len(batch))))
        return batch

    def _clipped(self: Any, ratio_T: torch.Tensor) -> torch.Tensor:
        clip = self.opsd.clip
        return ratio_T if clip is None else ratio_T.clamp(-clip, clip)

    def _taught_row(
        self: Any, rollout: Rollout, ratio_T: torch.Tensor, taught: Taught, mask_T: torch.Tensor
    ) -> TaughtRow:
        return TaughtRow(
            uid=rollout.uid,
            correct=rollout.correct,
            log_ratio_T=ratio_T,
            teacher_T=taught.log_probs_T[mask_T],
            teacher_tokens=taught.tokens,
        )

    def _write_divergence_fields(self: Any, batch: KVBatchMeta, masks: Sequence[torch.Tensor]) -> None:
        lengths = [tag["response_len"] for tag in batch.tags]
        prompts = [tag["prompt_len"] for tag in batch.tags]
        fields = divergence_fields(batch.keys, self._taught, prompts, lengths)
        transfer.write_fields(batch.keys, batch.partition_id, fields)
        rows = [
            {MASK_FIELD: mask if key in self._taught else torch.zeros_like(mask)}
            for key, mask in zip(batch.keys, masks, strict=True)
        ]
        transfer.write_fields(batch.keys, batch.partition_id, list_of_dict_to_tensordict(rows))

    def _update_actor(self: Any, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        if self.opsd.direction and self._taught:
            batch.extra_info[LOSS_FIELD] = DivergenceLoss(self.opsd.direction, self.opsd.coefficient, self.opsd.clip)
        return super()._update_actor(batch, metrics)

    def _compute_metrics(self: Any, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        metrics.update(step_metrics(self._lesson, None if self.opsd.direction else self.opsd.clip))
        self._lesson = Lesson()


class TeacherLogProbs(PPOTrainer):
    """The teacher's pass directly behind the old log-probs.

    A base of verl's trainers in the method order, so that it meets the same weights: the separate mode brings those of
    the rollout back for the computation.
    """

    def _compute_old_log_prob(self: Any, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch = super()._compute_old_log_prob(batch, metrics)
        started = time.perf_counter()
        self._taught = {}
        self._rollouts, rows = self._teacher_rows(batch)
        if rows:
            ranks = max(self.actor_rollout_wg._dispatch_info["actor"]) + 1
            teacher = put_teacher_rows(rows, multiple=ranks * self._log_prob_micro_batch(), ranks=ranks)
            teacher.extra_info.update(self._teacher_pass())
            self._score(teacher)
            self._taught = take_teacher_rows(teacher, top_k=bool(self.opsd.direction))
        self._lesson.seconds += time.perf_counter() - started
        return batch

    def _score(self: Any, teacher: KVBatchMeta) -> None:
        """The forward pass: by the policy, or by the reference policy as verl asks it."""
        if self.opsd.teacher == "initial" and not self.ref_in_actor:
            self.ref_policy_wg.compute_ref_log_prob(teacher)
            return
        if self.opsd.teacher == "initial":
            teacher.extra_info["no_lora_adapter"] = True
        self.actor_rollout_wg.compute_log_prob(teacher)

    def _teacher_pass(self: Any) -> dict[str, Any]:
        """As verl's pass for old log-probs, but for the entropy; a divergence needs the logits too."""
        temperature = self.config.actor_rollout_ref.rollout.temperature
        settings: dict[str, Any] = {"calculate_entropy": False, "compute_loss": False, "temperature": temperature}
        if self.opsd.direction:
            shown = {"compute_loss": True, "distillation_use_topk": True}
            settings |= {**shown, TEACHER_FIELD: TeacherPass(self.opsd.top_k)}
        return settings

    def _log_prob_micro_batch(self: Any) -> int:
        rollout = self.config.actor_rollout_ref.rollout
        return 1 if rollout.log_prob_use_dynamic_bsz else rollout.log_prob_micro_batch_size_per_gpu

    def _teacher_rows(self: Any, batch: KVBatchMeta) -> tuple[list[Rollout], list[TeacherRow]]:
        """The step's rollouts, and the teacher's rows of those that have one; the others are counted."""
        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not is_padding(tag)]
        rollouts = self._read_rollouts(keys, batch.partition_id)
        self._lesson.groups += len({rollout.uid for rollout in rollouts})
        responses = transfer.read_fields(keys, batch.partition_id, ["responses", "position_ids"])
        shown = solutions(rollouts, self.opsd, self.global_steps)
        rows = []
        outputs = Counter(rollout.session for rollout in rollouts)
        for i, (rollout, solution) in enumerate(zip(rollouts, shown, strict=True)):
            try:
                if outputs[rollout.session] > 1:
                    raise NoTeacher("unsupported_query")  # its later outputs answer prompts of their own
                ids = self._privileged_ids(rollout, solution)
                row = TeacherRow(rollout.key, ids, responses["responses"][i], responses["position_ids"][i])
                if row.length > self._most_tokens():
                    raise NoTeacher("too_long")
                rows.append(row)
            except NoTeacher as error:
                self._lesson.without[str(error)] += 1
        return rollouts, rows

    def _read_rollouts(self: Any, keys: list[str], partition_id: str) -> list[Rollout]:
        names = ["uid", "raw_prompt", "responses", "rm_scores"]
        names += ["extra_fields"] if self.opsd.correct_key else []
        names += [self.opsd.solution_key.split(".")[0]] if self.opsd.solution_key else []
        data = transfer.read_fields(keys, partition_id, names)
        columns = {name: list(tu.get(data, name)) for name in names}
        return [
            self._rollout(key, dict(zip(columns, values, strict=True)))
            for key, values in zip(keys, zip(*columns.values(), strict=True), strict=True)
        ]

    def _rollout(self: Any, key: str, fields: Mapping[str, Any]) -> Rollout:
        ids = fields["responses"].tolist()
        text = response_text(ids, self.tokenizer)[1]
        correct = self._correctness(fields) > self.opsd.reward_threshold
        shown = correct and bool(text.strip()) and not self._judge.is_cut_off(ids)
        return Rollout(key, str(fields["uid"]), list(fields["raw_prompt"]), text, correct, shown, fields)

    def _correctness(self: Any, fields: Mapping[str, Any]) -> float:
        key = self.opsd.correct_key
        info = fields["extra_fields"].get("reward_extra_info") or {} if key else {}
        try:
            return float(self._judge.said(fields["rm_scores"].sum(), info))
        except ValueError as error:
            raise ConfigError("algorithm.opsd.correct_key", key, str(error)) from error

    @cached_property
    def _judge(self: Any) -> Judge:
        limit = self.config.actor_rollout_ref.rollout.response_length
        return Judge(self.opsd.reward_threshold, self.opsd.correct_key, limit, turn_end_ids(self.tokenizer))

    def _privileged_ids(self: Any, rollout: Rollout, solution: str | None) -> list[int]:
        """Raises NoTeacher where there is nothing to show, or no place for it."""
        if solution is None:
            raise NoTeacher("no_sibling" if self.opsd.privileged == "sibling" else "no_solution")
        messages = privileged_messages(rollout, solution, self.opsd.prompt())
        return prompt_ids(messages, self.tokenizer, self.config.data.get("apply_chat_template_kwargs") or {})

    def _most_tokens(self: Any) -> int:
        """Of a row that the actor can take in one forward pass."""
        rollout = self.config.actor_rollout_ref.rollout
        limits = [rollout.log_prob_max_token_len_per_gpu] if rollout.log_prob_use_dynamic_bsz else []
        return min([*limits, self._context])


@register_trainer("opsd_sync")
class OpsdTrainerSync(OpsdTrainer, PPOTrainerSync, TeacherLogProbs):
    """Rollout and training take turns on the same devices."""


@register_trainer("opsd_colocate_async")
class OpsdTrainerColocateAsync(OpsdTrainer, PPOTrainerColocateAsync, TeacherLogProbs):
    """As `opsd_sync`, with unfinished rollouts carried over to the next step."""


@register_trainer("opsd_separate_async")
class OpsdTrainerSeparateAsync(OpsdTrainer, PPOTrainerSeparateAsync, TeacherLogProbs):
    """Rollout on devices of its own."""

    actor_worker_cls = OpsdDetachActorWorker


for _opsd_mode, _mode in TRAINER_MODES.items():
    TRAINER_REGISTRY[_mode] = chosen_by_group(TRAINER_REGISTRY[_mode], TRAINER_REGISTRY[_opsd_mode], uses_opsd)
