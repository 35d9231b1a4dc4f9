"""TAPO's trainer in simulated time, without a model: its passes over a batch take what their tokens take."""

import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ray
import torch
from omegaconf import DictConfig
from tensordict import TensorDict
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.v1 import trainer_base  # noqa: F401  (verl's trainers first: TAPO's plugin adds its own to them)
from verl.workers.rollout.llm_server import LLMServerClient

from benchmarks.at_scale.options import Scale
from tapo import transfer
from tapo.trainer.trainers import TapoTrainerSync
from tapo.transfer import KVBatchMeta

logger = logging.getLogger(__name__)

STALL_S = 30.0
"""Real seconds between two events after which it is said what is busy."""


class SimulatedActor:
    """The actor's worker group: the clock goes on, and a log-prob and an entropy are drawn for each token.

    Attributes:
        seconds: CPU time that this has taken in the trainer's process.
    """

    def __init__(self, engine: Any, scale: Scale):
        self._engine, self._scale = engine, scale
        self._dispatch_info = {"actor": list(range(scale.devices))}
        self.seconds = 0.0

    def compute_log_prob(self, batch: KVBatchMeta) -> KVBatchMeta:
        """One forward pass."""
        begin = time.process_time()
        lengths = [tag["seq_len"] for tag in batch.tags]
        draw = torch.Generator().manual_seed(self._scale.seed)
        fields = {
            name: torch.nested.as_nested_tensor(
                [sign * torch.rand(length, generator=draw) for length in lengths], layout=torch.jagged
            )
            for name, sign in (("log_probs", -1.0), ("entropy", 1.0))
        }
        transfer.write_fields(batch.keys, batch.partition_id, TensorDict(fields, batch_size=len(lengths)))
        self._spend(sum(lengths) / self._scale.log_prob_tokens_per_s)
        self.seconds += time.process_time() - begin
        return batch

    def update_actor(self, batch: KVBatchMeta) -> dict[str, dict[str, float]]:
        """Forward and backward passes, the updates with them."""
        begin = time.process_time()
        self._spend(sum(tag["seq_len"] for tag in batch.tags) / self._scale.update_tokens_per_s)
        self.seconds += time.process_time() - begin
        return {"metrics": {"mfu": 0.0, "grad_norm": 1.0}}

    def _spend(self, device_seconds: float) -> None:
        ray.get(self._engine.spend.remote(device_seconds / self._scale.devices))


class SimulatedTrainer(TapoTrainerSync):
    """The stages of a step as they are.

    Args:
        on_begin, on_end: called around each step.
    """

    def __init__(
        self,
        config: DictConfig,
        engine: Any,
        client: LLMServerClient,
        scale: Scale,
        on_begin: Callable[[], None],
        on_end: Callable[[dict[str, Any]], None],
    ):
        self._engine, self._client, self._scale = engine, client, scale
        self._on_begin, self._on_end = on_begin, on_end
        self._messages = 0
        super().__init__(config)
        self._poll_s = 2.0
        """verl's own; the CPU platform makes it less."""
        self.replay_buffer._wait_for_next_poll = self._wait_for_next_poll

    def _setup(self) -> None:
        self._init_tokenizer()
        self._init_dataloader()
        self._init_dump_executor()
        self.actor_rollout_wg = SimulatedActor(self._engine, self._scale)
        self.reward_loop_manager = RewardLoopManager(config=self.config, rm_resource_pool=None)
        self.teacher_model_manager = self.distillation_config = None
        self.checkpoint_manager = SimpleNamespace(sleep_replicas=lambda: None, update_weights=lambda step: None)
        self._load_checkpoint()

    def get_llm_client(self) -> LLMServerClient:
        """Of the simulated engine."""
        return self._client

    def _get_n_gpus_for_throughput(self) -> int:
        return self._scale.devices

    def _submit_batch_to_rollout(self, batch: TensorDict) -> int:
        ray.get(self._engine.expect.remote(list(range(self._scale.workers))))
        return super()._submit_batch_to_rollout(batch)

    def _wait_for_next_poll(self, partition_id: str, last_debug_time: float) -> float:
        self._messages += 1
        me = self._scale.workers
        woken = self._engine.sleep.remote(me, self._poll_s)
        self._engine.report.remote(me, self._messages, self._messages - 1)
        while not ray.wait([woken], timeout=STALL_S)[0]:
            self._say_what_is_busy()
        return last_debug_time

    def _say_what_is_busy(self) -> None:
        logger.warning("the clock has stood still for %.0f s: %s", STALL_S, ray.get(self._engine.state.remote()))
        for worker in self.agent_loop_manager.agent_loop_workers:
            logger.warning("%s", ray.get(worker.busy_tasks.remote()))

    def step(self, metrics: dict, timing_raw: dict) -> KVBatchMeta:
        """verl's."""
        self._on_begin()
        return super().step(metrics, timing_raw)

    def _compute_metrics(self, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        self._on_end(metrics)
