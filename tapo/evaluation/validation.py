"""Runs an evaluation through verl's own validation: `trainer.val_only`, one benchmark after the other."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.core.phrases import load_detector
from tapo.evaluation.benchmarks import Benchmark, read_benchmarks
from tapo.evaluation.checkpoint import Checkpoint, is_complete_model, resolve_checkpoint
from tapo.evaluation.folders import MANIFEST, METRICS, SCHEMA, write_manifest
from tapo.evaluation.options import RunOptions
from tapo.evaluation.protocol import LOGS, hydra_value, protocol_overrides, refuse_conflicts, verifier_of
from tapo.files.fingerprint import fingerprint_of_model
from tapo.terminal import say
from tapo.training_progress import run_showing_progress
from tapo.versions import installed_versions


class EvaluationFailed(ValueError):
    """verl or its model merger ended with an error; the log's end has been printed."""


@dataclass(frozen=True)
class Plan:
    """Everything decided before anything is started."""

    options: RunOptions
    checkpoint: Checkpoint
    benchmarks: list[Benchmark]
    out: Path
    python: str = sys.executable

    def merge_command(self) -> list[str]:
        """Of verl's model merger; empty if the model is complete or already merged."""
        if not self.checkpoint.merge or is_complete_model(Path(self.checkpoint.model)):
            return []
        return [self.python, "-m", "verl.model_merger", *self.checkpoint.merge]

    def command(self, benchmark: Benchmark) -> list[str]:
        """Of `verl.trainer.main_ppo`, which validates on one benchmark and ends."""
        overrides = [f"{key}={hydra_value(value)}" for key, value in self.overrides(benchmark).items()]
        return [self.python, "-m", "verl.trainer.main_ppo", *overrides, *self.options.overrides]

    def overrides(self, benchmark: Benchmark) -> dict[str, Any]:
        """See `protocol_overrides`."""
        return protocol_overrides(self.options, self.checkpoint.model, benchmark, self.out)

    def manifest(self) -> dict[str, Any]:
        """The protocol as it is written beside the dumps; the model must be there."""
        model = self.checkpoint.model
        return {
            "schema": SCHEMA,
            "model": {
                "given": self.options.model,
                "path": model,
                "step": self.checkpoint.step,
                "fingerprint": fingerprint_of_model(model),
            },
            "benchmarks": [benchmark.describe() for benchmark in self.benchmarks],
            "sampling": self.options.describe(),
            "verifier": verifier_of(self.options.overrides),
            "detector": load_detector().describe(),
            "seed": self.options.seed,
            "versions": installed_versions(),
            "overrides": list(self.options.overrides),
        }


def evaluate(options: RunOptions, console: Console) -> None:
    """`tapo eval run`.

    Raises:
        ValueError: see `plan_evaluation` and `run_evaluation`.
    """
    plan = plan_evaluation(options)
    if options.dry_run:
        print_commands(plan, console)
        return
    run_evaluation(plan, console)
    say(f"tapo eval report {plan.out}", console)


def plan_evaluation(options: RunOptions) -> Plan:
    """Check everything that can be checked without starting verl.

    Raises:
        ValueError: the model, a benchmark or an override cannot work, or `out` holds another evaluation.
    """
    out = options.out.expanduser().resolve()
    if (out / MANIFEST).exists():
        raise ValueError(f"--out = {str(out)!r} cannot work: it holds an evaluation already, needs another folder")
    checkpoint = resolve_checkpoint(options.model, out / "model")
    plan = Plan(options, checkpoint, read_benchmarks(options.data), out)
    reserved = {LOGS, "model", "report"} & {benchmark.name for benchmark in plan.benchmarks}
    if reserved:
        raise ValueError(f"--data = {sorted(reserved)!r} cannot work: needs another name than logs, model or report")
    refuse_conflicts(options.overrides, plan.overrides(plan.benchmarks[0]))
    return plan


def run_evaluation(plan: Plan, console: Console) -> None:
    """Merge the checkpoint if it needs it, write the manifest, and validate on each benchmark.

    Raises:
        EvaluationFailed: a process ended with an error or left no dump.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    merge = plan.merge_command()
    if merge:
        _run(plan.out / LOGS / "merge", "merging the checkpoint", merge, console)
    write_manifest(plan.out, plan.manifest())
    for benchmark in plan.benchmarks:
        _run(plan.out / LOGS / benchmark.name, benchmark.name, plan.command(benchmark), console)
        if not any((plan.out / benchmark.name).glob("*.jsonl")):
            raise EvaluationFailed(f"{benchmark.name}: verl wrote no dump to {plan.out / benchmark.name}")


def _run(folder: Path, title: str, command: list[str], console: Console) -> None:
    metrics = f"VERL_FILE_LOGGER_PATH={folder / METRICS}"
    status = run_showing_progress(folder, 1, title, ["env", metrics, *command], console)
    if status:
        raise EvaluationFailed(f"{title}: ended with status {status}; see {folder / 'log'}")


def print_commands(plan: Plan, console: Console) -> None:
    """What `run_evaluation` would start, to be pasted into a shell."""
    commands = [plan.merge_command(), *(plan.command(benchmark) for benchmark in plan.benchmarks)]
    for command in filter(None, commands):
        say(shlex.join(command), console)
