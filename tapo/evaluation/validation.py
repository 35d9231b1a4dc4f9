"""Runs an evaluation through verl's own validation: `trainer.val_only`, one benchmark after the other."""

import re
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from tapo.core.phrases import load_detector
from tapo.evaluation.folders import MANIFEST, METRICS, SCHEMA, write_manifest
from tapo.evaluation.inputs import Benchmark, Checkpoint, read_benchmarks, resolve_checkpoint
from tapo.evaluation.options import RunOptions
from tapo.files.fingerprint import fingerprint_of_model
from tapo.files.model_folder import is_complete_model
from tapo.options import ConfigError
from tapo.terminal import say
from tapo.training_progress import run_showing_progress
from tapo.versions import installed_versions

PROTOCOL = Path(__file__).parent / "data" / "protocol.yaml"
LOGS = "logs"
"""Folder for verl's output and metrics of each benchmark, beside the dumps."""
VERIFIER = "reward.custom_reward_function"
REPLACEABLE = (VERIFIER, "reward.reward_manager")
"""Beginnings of keys that the protocol leaves alone where the user sets one of them."""

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./:@+-]*")
_KEYWORDS = {"true", "false", "null", "nan", "inf"}


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
        """What the protocol sets in verl: what is asked, how it is sampled and scored."""
        rollout, sampling = "actor_rollout_ref.rollout", self.options.describe()
        given = [key_of(entry) for entry in self.options.overrides]
        replaced = tuple(part for part in REPLACEABLE if any(key.startswith(part) for key in given))
        fixed = yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))
        return {
            "actor_rollout_ref.model.path": self.checkpoint.model,
            "data.train_files": str(benchmark.file),
            "data.val_files": str(benchmark.file),
            "data.seed": self.options.seed,
            f"{rollout}.seed": self.options.seed,
            **{f"{rollout}.val_kwargs.{key}": value for key, value in sampling.items() if not key.startswith("max_")},
            **{f"data.{key}": value for key, value in sampling.items() if key.startswith("max_")},
            "trainer.n_gpus_per_node": self.options.gpus,
            "trainer.experiment_name": benchmark.name,
            "trainer.validation_data_dir": str(self.out / benchmark.name),
            "trainer.default_local_dir": str(self.out / LOGS / benchmark.name),
            **{key: value for key, value in fixed.items() if not key.startswith(replaced)},
        }

    def manifest(self) -> dict[str, Any]:
        """The protocol as it is written beside the dumps; the model must be there."""
        options, model = self.options, self.checkpoint.model
        given = {key_of(entry): entry.partition("=")[2] for entry in options.overrides}
        settings = self.overrides(self.benchmarks[0]) | given
        verifier = {key: value for key, value in settings.items() if key.startswith(VERIFIER)}
        return {
            "schema": SCHEMA,
            "model": {
                "given": options.model,
                "path": model,
                "step": self.checkpoint.step,
                "fingerprint": fingerprint_of_model(model),
            },
            "benchmarks": [asdict(benchmark) | {"file": str(benchmark.file)} for benchmark in self.benchmarks],
            "sampling": options.describe(),
            "verifier": {key.removeprefix(f"{VERIFIER}."): value for key, value in verifier.items()},
            "detector": load_detector().describe(),
            "seed": options.seed,
            "versions": installed_versions(),
            "overrides": list(options.overrides),
        }


def evaluate(options: RunOptions, console: Console) -> None:
    """`tapo eval run`: plan it, and either say the commands or run it."""
    plan = plan_evaluation(options)
    if options.dry_run:
        for command in filter(None, [plan.merge_command(), *map(plan.command, plan.benchmarks)]):
            say(shlex.join(command), console)
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
    ours = plan.overrides(plan.benchmarks[0])
    for entry in options.overrides:
        if key_of(entry) in ours:  # the manifest would be wrong
            allowed = "needs overrides of other keys; this one is set by the options of `tapo eval run`"
            raise ConfigError("override", entry, allowed)
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
