"""What TAPO builds on in verl, checked where a run starts: a verl that has changed it gives one sentence then, and no
AttributeError in the middle of the run.

Read from verl's source without importing it, so that the launch command can check before Ray starts. The tests check
the same table, and that nothing of verl's which TAPO imports or overrides is missing from it.
"""

import ast
import logging
import os
from collections.abc import Callable, Iterator
from inspect import Signature

from tapo.launch.definitions import NotCallableError, find, signature
from tapo.versions import installed_versions

logger = logging.getLogger(__name__)

TESTED_VERL = ("0.9.1",)
"""The versions that the tests have run with; docs/versions.md says with what else."""

ANY_VERL = "TAPO_ANY_VERL"
"""Environment variable: set to 1, a broken contract is a warning."""

SHOWN = 5
"""Breaches that the sentence spells out."""

Claim = Callable[[ast.stmt], str | None]
"""What is wrong with a definition, or None."""


class ContractError(RuntimeError):
    """The installed verl is not what TAPO was written for."""


def overridden(*names: str) -> Claim:
    """Takes exactly these parameters: verl calls an override of ours by them."""

    def check(definition: ast.stmt) -> str | None:
        found = list(signature(definition).parameters)
        return None if found == list(names) else f"has parameters ({', '.join(found)}), not ({', '.join(names)})"

    return check


def called(positional: int, *keywords: str) -> Claim:
    """Can be called with so many positional arguments (`self` included) and these by keyword."""

    def check(definition: ast.stmt) -> str | None:
        found = signature(definition)
        try:
            found.bind(*range(positional), **dict.fromkeys(keywords))
        except TypeError as error:
            return f"has parameters {_shown(found)}: {error}"
        return None

    return check


def _shown(found: Signature) -> str:
    return str(found).replace("=Ellipsis", "=...")


def says(*fragments: str) -> Claim:
    """Contains these fragments in this order, as `ast.unparse` spells them."""

    def check(definition: ast.stmt) -> str | None:
        text, start = ast.unparse(definition), 0
        for fragment in fragments:
            start = text.find(fragment, start)
            if start < 0:
                return f"does not say `{fragment}` where expected"
        return None

    return check


_TRAINER = "verl.trainer.ppo.v1.trainer_base:PPOTrainer"
_SEPARATE = "verl.trainer.ppo.v1.trainer_separate_async:PPOTrainerSeparateAsync"
_WORKER = "verl.trainer.ppo.v1.agent_loop_tq:AgentLoopWorkerTQ"
_TU = "verl.utils.tensordict_utils"

CONTRACT: dict[str, tuple[Claim, ...]] = {
    # The rollout side.
    f"{_WORKER}.__init__": (called(1, "config"),),
    f"{_WORKER}._run_prompt": (
        overridden("self", "prompt", "sampling_params", "trajectory", "trace"),
        says("__rollout_n__", "self._run_agent_loop(", "_settle_session_tasks(tasks)", "status = 'finished'"),
    ),
    f"{_WORKER}._run_agent_loop": (
        overridden("self", "sampling_params", "trajectory", "agent_name", "trace", "kwargs"),
    ),
    f"{_WORKER}._agent_loop_postprocess": (
        overridden("self", "output", "validate", "kwargs"),
        says("f'{uid}_{session_id}_{i}'"),
    ),
    f"{_WORKER}._compute_score": (called(2, "kwargs"), says("final_output.reward_score is None and")),
    # It sets its own worker class before `super().__init__`, and ours comes after that.
    "verl.trainer.ppo.v1.agent_loop_tq:AgentLoopManagerTQ.__init__": (
        says("agent_loop_workers_class", "super().__init__"),
    ),
    "verl.trainer.ppo.v1.replay_buffer:ReplayBuffer._materialize_batch": (says("key.split('_')[0]"),),
    "verl.experimental.agent_loop:AgentLoopOutput": (
        called(
            0,
            "prompt_ids",
            "response_ids",
            "response_mask",
            "response_logprobs",
            "reward_score",
            "num_turns",
            "metrics",
            "extra_fields",
        ),
    ),
    "verl.workers.rollout.llm_server:LLMServerClient.generate": (
        called(1, "request_id", "prompt_ids", "sampling_params"),
    ),
    "verl.utils.tokenizer:normalize_token_ids": (called(1),),
    # The trainers.
    f"{_TRAINER}.__init__": (overridden("self", "config"),),
    f"{_TRAINER}._init_resource_pool_mgr": (overridden("self"), says("self.role_worker_mapping")),
    f"{_TRAINER}._balance_batch": (
        overridden("self", "batch", "metrics", "logging_prefix", "keep_minibatch"),
        says("self.actor_rollout_wg", "worker_group._dispatch_info"),
    ),
    f"{_TRAINER}._compute_old_log_prob": (overridden("self", "batch", "metrics"),),
    f"{_TRAINER}._compute_advantage": (overridden("self", "batch", "metrics"),),
    f"{_TRAINER}._update_actor": (
        overridden("self", "batch", "metrics"),
        says("batch.extra_info.update(", "self.actor_rollout_wg.update_actor(batch)"),
    ),
    f"{_TRAINER}._compute_metrics": (overridden("self", "batch", "metrics", "timing_raw", "global_steps", "epoch"),),
    "verl.trainer.ppo.v1.trainer_base:TRAINER_REGISTRY": (),
    "verl.trainer.ppo.v1.trainer_base:register_trainer": (called(1),),
    "verl.trainer.ppo.v1.trainer_sync:PPOTrainerSync": (),
    "verl.trainer.ppo.v1.trainer_colocate_async:PPOTrainerColocateAsync": (),
    f"{_SEPARATE}.__init__": (overridden("self", "config"),),
    f"{_SEPARATE}._init_resource_pool_mgr": (overridden("self"),),
    f"{_SEPARATE}._compute_old_log_prob": (
        overridden("self", "batch", "metrics"),
        says("super()._compute_old_log_prob("),
    ),
    "verl.trainer.ppo.utils:Role": (says("Actor =", "ActorRollout =", "ActorRolloutRef ="),),
    "verl.trainer.ppo.core_algos:ADV_ESTIMATOR_REGISTRY": (),
    "verl.trainer.ppo.core_algos:register_adv_est": (called(1),),
    "verl.trainer.ppo.core_algos:FixedKLController": (called(1),),
    "verl.trainer.ppo.core_algos:FixedKLController.update": (called(3),),
    "verl.trainer.ppo.ray_trainer:apply_kl_penalty": (called(1, "kl_ctrl", "kl_penalty"),),
    "verl.trainer.ppo.padding_utils:upsample_batch_to_divisible_size": (called(3),),
    "verl.trainer.ppo.padding_utils:construct_minimal_padding_template": (says("is_padding=True"),),
    "verl.protocol:DataProto": (called(0, "batch"),),
    "verl.utils.seqlen_balancing:calculate_workload": (called(1),),
    "verl.utils.seqlen_balancing:get_seqlen_balanced_partitions": (called(1, "k_partitions", "equal_size"),),
    "verl.workers.utils.padding:response_to_nested": (called(2),),
    # The actor's workers and their loss.
    "verl.workers.engine_workers:TrainingWorker.train_mini_batch": (
        overridden("self", "data"),
        says("self.train_batch(mini_batch_td)"),
    ),
    "verl.workers.engine_workers:TrainingWorker.train_batch": (overridden("self", "data"),),
    "verl.workers.engine_workers:TrainingWorker.set_loss_fn": (called(2),),
    "verl.workers.engine_workers:ActorRolloutRefWorker.actor_worker_cls": (says("TrainingWorker"),),
    "verl.workers.engine_workers:ActorRolloutRefWorker.init_model": (
        overridden("self"),
        says("self.actor_worker_cls(", "self.actor.set_loss_fn(self.loss_fn)"),
    ),
    "verl.experimental.separation.engine_workers:DetachActorWorker.init_model": (overridden("self"),),
    "verl.workers.utils.losses:ppo_loss": (overridden("config", "model_output", "data", "dp_group"),),
    "verl.single_controller.base.decorator:register": (called(0, "dispatch_mode"),),
    "verl.single_controller.base.decorator:Dispatch": (),
    "verl.utils.device:get_device_id": (called(0),),
    "verl.utils.metric:Metric": (called(0, "value", "aggregation"),),
    "verl.utils.metric:AggregationType": (says("MEAN =", "SUM ="),),
    f"{_TU}:get_tensordict": (called(1),),
    f"{_TU}:get": (called(2),),
    f"{_TU}:pop": (called(1, "key", "default"),),
    f"{_TU}:get_non_tensor_data": (called(1, "key", "default"),),
    f"{_TU}:assign_non_tensor": (called(1, "mini_batch_size"),),
    f"{_TU}:assign_non_tensor_data": (called(3),),
    f"{_TU}:index_select_tensor_dict": (called(2),),
    f"{_TU}:make_iterator": (called(1, "mini_batch_size", "epochs", "seed", "dataloader_kwargs"),),
    f"{_TU}:maybe_fix_3d_position_ids": (called(1),),
    "verl.utils.config:omega_conf_to_dataclass": (called(1),),
    "verl.utils.import_utils:load_class_from_fqn": (called(1),),
    # Where the rows lie.
    "transfer_queue:KVBatchMeta": (called(0, "partition_id", "keys", "tags", "extra_info"),),
    "transfer_queue:kv_batch_get": (called(0, "keys", "partition_id", "select_fields"),),
    "transfer_queue:kv_batch_put": (called(0, "keys", "partition_id", "fields"),),
    "transfer_queue:async_kv_put": (called(0, "key", "partition_id", "tag"),),
    "transfer_queue:async_kv_clear": (called(0, "keys", "partition_id"),),
}
"""`module:name` of what a training run uses, and what must be true of it besides being there."""

BESIDE_TRAINING: dict[str, tuple[Claim, ...]] = {
    "verl.utils:hf_tokenizer": (called(1),),
    "verl.utils.import_utils:load_extern_object": (called(2),),
    "verl.utils.dataset.dataset_utils:DatasetPadMode": (says("NO_PADDING ="),),
    "verl.utils.dataset.multiturn_sft_dataset:MultiTurnSFTDataset.__getitem__": (overridden("self", "item"),),
    "verl.utils.dataset.multiturn_sft_dataset:MultiTurnSFTDataset._read_files_and_process": (overridden("self"),),
    "verl.experimental.reward_loop.reward_manager.naive:NaiveRewardManager.run_single": (overridden("self", "data"),),
    "verl.plugin.platform:PlatformBase": (),
    "verl.plugin.platform:PlatformRegistry": (),
}
"""As `CONTRACT`, for the cold start, the evaluation and the CPU platform. A run does not check it; the tests do."""


def breaches(contract: dict[str, tuple[Claim, ...]]) -> Iterator[str]:
    """What the installed packages lack or have otherwise."""
    for key, claims in contract.items():
        module, _, name = key.partition(":")
        definition = find(module, name)
        if definition is None:
            yield f"{key} is missing"
            continue
        try:
            yield from (f"{key} {problem}" for claim in claims if (problem := claim(definition)))
        except NotCallableError as error:
            yield f"{key} {error}"


def check_contract() -> None:
    """Make sure that the installed verl is what TAPO's training was written for; nothing is imported.

    Raises:
        ContractError: names the breaches, the installed versions and those that were tested. With the environment
            variable `TAPO_ANY_VERL=1` it is logged as a warning.
    """
    found = list(breaches(CONTRACT))
    if not found:
        return
    installed = ", ".join(" ".join(pair) for pair in installed_versions(("verl", "TransferQueue")).items())
    sentence = (
        f"what is installed ({installed or 'no verl'}) is not what this TAPO was written for (tested: verl "
        f"{', '.join(TESTED_VERL)}): {'; '.join(found[:SHOWN])}"
        + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    )
    if os.environ.get(ANY_VERL) != "1":
        raise ContractError(f"{sentence}. Install a tested version, or set {ANY_VERL}=1 to go on regardless.")
    logger.warning("%s", sentence)


def assert_registered() -> None:
    """Make sure that verl has loaded this plugin: it skips one that fails at import with a debug message.

    Raises:
        RuntimeError: verl's registry does not know the estimator `tapo`.
    """
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    if "tapo" not in ADV_ESTIMATOR_REGISTRY:
        raise RuntimeError(
            "verl has not loaded the TAPO plugin. Check that VERL_USE_EXTERNAL_PLUGINS is unset, `auto` or lists tapo, "
            "that tapo-verl is installed where verl is, and that `python -c 'import tapo.plugin'` succeeds."
        )
