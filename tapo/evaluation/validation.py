"""Runs an evaluation through verl's own validation: `trainer.val_only`, one benchmark after the other."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.evaluation.checkpoint import Checkpoint, is_complete_model, resolve_checkpoint
from tapo.evaluation.manifest import LIBRARIES, MANIFEST, SCHEMA, write_manifest
from tapo.evaluation.protocol import (
    VERIFIER_KEY,
    Benchmark,
    Sampling,
    key_of,
    read_benchmarks,
    refuse_conflicts,
    sampling_overrides,
    scoring_overrides,
)
from tapo.evaluation.reflection import load_detector
from tapo.training_progress import watch
from tapo.versions import installed_versions

LOGS = "logs"
"""Folder for verl's output and metrics of each benchmark, beside the dumps."""
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./:@+-]*")
_KEYWORDS = {"true", "false", "null", "nan", "inf"}


class EvaluationFailed(ValueError):
    """verl or its model merger ended with an error; the log's end has been printed."""


@dataclass(frozen=True)
class Plan:
    """Everything decided before anything is started."""

    given: str
    checkpoint: Checkpoint
    benchmarks: list[Benchmark]
    sampling: Sampling
    seed: int
    gpus: int
    out: Path
    extra: tuple[str, ...] = ()
    """Arguments of `verl.trainer.main_ppo` passed through."""
    python: str = sys.executable

    def merge_command(self) -> list[str]:
        """Of verl's model merger; empty if the model is complete or already merged."""
        if not self.checkpoint.merge or is_complete_model(Path(self.checkpoint.model)):
            return []
        return [self.python, "-m", "verl.model_merger", *self.checkpoint.merge]

    def command(self, benchmark: Benchmark) -> list[str]:
        """Of `verl.trainer.main_ppo`, which validates on one benchmark and ends."""
        overrides = [f"{key}={hydra_value(value)}" for key, value in self.overrides(benchmark).items()]
        return [self.python, "-m", "verl.trainer.main_ppo", *overrides, *self.extra]

    def overrides(self, benchmark: Benchmark) -> dict[str, Any]:
        """What the protocol sets. Training settings only satisfy verl's checks: no step is taken."""
        logs = self.out / LOGS / benchmark.name
        return {
            "actor_rollout_ref.model.path": self.checkpoint.model,
            "data.train_files": str(benchmark.file),
            "data.val_files": str(benchmark.file),
            "data.train_batch_size": 1,
            "data.seed": self.seed,
            "actor_rollout_ref.rollout.seed": self.seed,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 1,
            "actor_rollout_ref.actor.use_dynamic_bsz": True,
            "actor_rollout_ref.actor.use_kl_loss": False,
            "algorithm.adv_estimator": "grpo",
            "algorithm.use_kl_in_reward": False,
            **sampling_overrides(self.sampling),
            **scoring_overrides(self.extra),
            "trainer.n_gpus_per_node": self.gpus,
            "trainer.val_only": True,
            "trainer.val_before_train": True,
            "trainer.resume_mode": "disable",
            "trainer.save_freq": -1,
            "trainer.total_training_steps": 1,
            "trainer.logger": ["console", "file"],
            "trainer.project_name": "tapo-evaluation",
            "trainer.experiment_name": benchmark.name,
            "trainer.validation_data_dir": str(self.out / benchmark.name),
            "trainer.default_local_dir": str(logs),
        }

    def manifest(self) -> dict[str, Any]:
        """The protocol as it is written beside the dumps."""
        verifier = {"path": "pkg://tapo.rewards", "name": "compute_score"}
        own = [entry for entry in self.extra if key_of(entry).startswith(VERIFIER_KEY)]
        if own:
            verifier = {key_of(entry).removeprefix(f"{VERIFIER_KEY}."): entry.partition("=")[2] for entry in own}
        return {
            "schema": SCHEMA,
            "model": {
                "given": self.given,
                "path": self.checkpoint.model,
                "step": self.checkpoint.step,
                "weights": weights(Path(self.checkpoint.model)),
            },
            "benchmarks": [benchmark.describe() for benchmark in self.benchmarks],
            "sampling": self.sampling.describe(),
            "verifier": verifier,
            "detector": load_detector().describe(),
            "seed": self.seed,
            "versions": installed_versions(LIBRARIES),
            "overrides": list(self.extra),
        }


def plan_evaluation(
    model: str,
    data: Sequence[str],
    out: Path,
    *,
    sampling: Sampling,
    seed: int = 0,
    gpus: int = 1,
    extra: Sequence[str] = (),
) -> Plan:
    """Check everything that can be checked without starting verl.

    Raises:
        ValueError: the model, a benchmark, an option or an override cannot work, or `out` holds another evaluation.
    """
    for key, value, least in (("--seed", seed, 0), ("--gpus", gpus, 1)):
        if value < least:
            raise ValueError(f"{key} = {value} cannot work: needs an integer >= {least}")
    out = out.expanduser().resolve()
    if (out / MANIFEST).exists():
        raise ValueError(f"--out = {str(out)!r} cannot work: it holds an evaluation already, needs another folder")
    checkpoint = resolve_checkpoint(model, out / "model")
    plan = Plan(model, checkpoint, read_benchmarks(data), sampling, seed, gpus, out, tuple(extra))
    reserved = {LOGS, "model", "report"} & {benchmark.name for benchmark in plan.benchmarks}
    if reserved:
        raise ValueError(f"--data = {sorted(reserved)!r} cannot work: needs another name than logs, model or report")
    refuse_conflicts(extra, plan.overrides(plan.benchmarks[0]))
    return plan


def run_evaluation(plan: Plan, console: Console) -> None:
    """Merge the checkpoint if it needs it, write the manifest, and validate on each benchmark.

    Raises:
        EvaluationFailed: a process ended with an error or left no dump.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    merge = plan.merge_command()
    if merge:
        _watch(plan.out / LOGS / "merge", "merging the checkpoint", merge, console)
    write_manifest(plan.out, plan.manifest())
    for benchmark in plan.benchmarks:
        _watch(plan.out / LOGS / benchmark.name, benchmark.name, plan.command(benchmark), console)
        if not any((plan.out / benchmark.name).glob("*.jsonl")):
            raise EvaluationFailed(f"{benchmark.name}: verl wrote no dump to {plan.out / benchmark.name}")


def _watch(folder: Path, title: str, command: list[str], console: Console) -> None:
    metrics = f"VERL_FILE_LOGGER_PATH={folder / 'metrics.jsonl'}"
    status = watch(folder, 1, title, ["env", metrics, *command], console)
    if status:
        raise EvaluationFailed(f"{title}: ended with status {status}; see {folder / 'log'}")


def print_commands(plan: Plan, console: Console) -> None:
    """What `run_evaluation` would start, to be pasted into a shell."""
    commands = [plan.merge_command(), *(plan.command(benchmark) for benchmark in plan.benchmarks)]
    for command in filter(None, commands):
        console.print(shlex.join(command), markup=False, highlight=False, soft_wrap=True)


def hydra_value(value: Any) -> str:
    """A value in Hydra's override grammar; a text is quoted where it needs it, so that paths may hold anything."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.lower() not in _KEYWORDS):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


def weights(folder: Path) -> dict[str, int] | None:
    """{weight file: bytes} of a local model; None of a hub name."""
    if not folder.is_dir():
        return None
    files = [file for pattern in ("*.safetensors", "*.bin") for file in folder.glob(pattern)]
    return {file.name: file.stat().st_size for file in sorted(files)}
