"""The evaluation protocol as verl's overrides: what is asked, how it is sampled and scored."""

import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from tapo.evaluation.benchmarks import Benchmark
from tapo.evaluation.options import RunOptions
from tapo.options import ConfigError

VERIFIER_KEY = "reward.custom_reward_function"
MANAGER_KEY = "reward.reward_manager"
VERIFIER = {"path": "pkg://tapo.rewards", "name": "compute_score"}
LENGTH_MANAGER = {
    "source": "importlib",
    "name": "LengthRewardManager",
    "module.path": "pkg://tapo.evaluation.reward_manager",
}
LOGS = "logs"
"""Folder for verl's output and metrics of each benchmark, beside the dumps."""

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./:@+-]*")
_KEYWORDS = {"true", "false", "null", "nan", "inf"}


def protocol_overrides(options: RunOptions, model: str, benchmark: Benchmark, out: Path) -> dict[str, Any]:
    """What the protocol sets. Training settings only satisfy verl's checks: no step is taken."""
    rollout, sampling = "actor_rollout_ref.rollout", options.describe()
    return {
        "actor_rollout_ref.model.path": model,
        "data.train_files": str(benchmark.file),
        "data.val_files": str(benchmark.file),
        "data.train_batch_size": 1,
        "data.seed": options.seed,
        f"{rollout}.seed": options.seed,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 1,
        "actor_rollout_ref.actor.use_dynamic_bsz": True,
        "actor_rollout_ref.actor.use_kl_loss": False,
        "algorithm.adv_estimator": "grpo",
        "algorithm.use_kl_in_reward": False,
        **{f"{rollout}.val_kwargs.{key}": value for key, value in sampling.items() if not key.startswith("max_")},
        **{f"data.{key}": value for key, value in sampling.items() if key.startswith("max_")},
        **_unless_set(VERIFIER_KEY, VERIFIER, options.overrides),
        **_unless_set(MANAGER_KEY, LENGTH_MANAGER, options.overrides),
        "trainer.n_gpus_per_node": options.gpus,
        "trainer.val_only": True,
        "trainer.val_before_train": True,
        "trainer.resume_mode": "disable",
        "trainer.save_freq": -1,
        "trainer.total_training_steps": 1,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "tapo-evaluation",
        "trainer.experiment_name": benchmark.name,
        "trainer.validation_data_dir": str(out / benchmark.name),
        "trainer.default_local_dir": str(out / LOGS / benchmark.name),
    }


def _unless_set(key: str, ours: dict[str, str], overrides: Sequence[str]) -> dict[str, str]:
    """The verifier, or the reward manager that measures lengths, unless the user sets another."""
    if any(key_of(entry).startswith(key) for entry in overrides):
        return {}
    return {f"{key}.{name}": value for name, value in ours.items()}


def verifier_of(overrides: Sequence[str]) -> dict[str, str]:
    """What a manifest records of the verifier."""
    own = [entry for entry in overrides if key_of(entry).startswith(VERIFIER_KEY)]
    return {key_of(entry).removeprefix(f"{VERIFIER_KEY}."): entry.partition("=")[2] for entry in own} or VERIFIER


def refuse_conflicts(overrides: Sequence[str], ours: Container[str]) -> None:
    """An override of a key that the protocol sets would make the manifest wrong.

    Raises:
        ConfigError: names the first such override.
    """
    for entry in overrides:
        if key_of(entry) in ours:
            allowed = "needs overrides of other keys; this one is set by the options of `tapo eval run`"
            raise ConfigError("override", entry, allowed)


def key_of(override: str) -> str:
    """The key of a Hydra override: `++a.b=1` -> `a.b`."""
    return override.partition("=")[0].lstrip("+~")


def hydra_value(value: Any) -> str:
    """A value in Hydra's override grammar; a text is quoted where it needs it, so that paths may hold anything."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.lower() not in _KEYWORDS):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)
