"""Several settings of `algorithm.tapo` in one run, each for some steps: a start takes as long as a dozen of them."""

import importlib
import json
import os
from dataclasses import replace
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from wrapt import register_post_import_hook

from tapo.config import TapoConfig

STEPS = 2
"""Of each setting."""
ARGUMENTS = ("actor_rollout_ref.rollout.agent.agent_loop_manager_class=tests.e2e.sweep_rollout.SweepManager",)


def environment(settings: list[dict[str, Any]]) -> dict[str, str]:
    """Of a run with these settings, given as differences from its own."""
    return {"VERL_USE_EXTERNAL_MODULES": "tests.e2e.sweep", "SWEEP": json.dumps(settings)}


def steps_of(number: int) -> range:
    """The steps that the setting of this number is trained in."""
    return range(number * STEPS + 1, (number + 1) * STEPS + 1)


def in_step(settings: list[Any], step: int) -> Any:
    return settings[max(step - 1, 0) // STEPS]


def configs(config: DictConfig) -> list[TapoConfig]:
    merged = (OmegaConf.merge(config.algorithm.tapo, difference) for difference in json.loads(os.environ["SWEEP"]))
    return [TapoConfig.from_mapping(OmegaConf.to_container(node)) for node in merged]


def sweep_worker(base: type) -> type:
    """A worker whose options are those of the step that a query belongs to."""

    class SweepWorker(base):
        def __init__(self, config: DictConfig, *args: Any, **kwargs: Any):
            super().__init__(config, *args, **kwargs)
            self._sweep = [(tapo, replace(self._constructor, config=tapo)) for tapo in configs(config)]

        async def _run_prompt(self, prompt: dict, sampling_params: dict, trajectory: dict, trace: bool = False) -> None:
            # The synchronous mode rolls out one step at a time.
            self._tapo, self._constructor = in_step(self._sweep, int(trajectory["step"]))
            await super()._run_prompt(prompt, sampling_params, trajectory=trajectory, trace=trace)

    return SweepWorker


def _sweep_trainer(module: ModuleType) -> None:
    trainers = importlib.import_module("tapo.trainer.trainers")

    class SweepTrainer(trainers.TapoTrainerSync):
        def __init__(self, config: DictConfig):
            self.global_steps = 0
            self._sweep: list[TapoConfig] = []
            super().__init__(config)
            self._sweep = configs(config)

        @property
        def tapo(self) -> TapoConfig:
            return in_step(self._sweep, self.global_steps)

        @tapo.setter
        def tapo(self, prepared: TapoConfig) -> None:
            self._sweep = [prepared]

    trainers.TRAINER_REGISTRY["tapo_sync"] = SweepTrainer


if "SWEEP" in os.environ:  # in the runs alone, not where their tests are collected
    register_post_import_hook(_sweep_trainer, "verl.trainer.ppo.v1")
