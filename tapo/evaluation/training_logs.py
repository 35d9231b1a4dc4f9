"""Reads the metrics of training runs from verl's `file` and `tensorboard` loggers."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tapo.core.funnel import FUNNEL
from tapo.core.objections import FAITHFUL_SHARE, RESERVED
from tapo.evaluation.folders import HALF_WRITTEN, METRICS, distinct_names
from tapo.files.json_lines import read_json_lines

TRAINING_STEP = "training/global_step"
"""Which steps trained: verl logs a validation before training as a step of its own."""
CONSTRUCT = "tapo/construct/"
CHECK = f"{CONSTRUCT}check/"
_ALLOWED = "a folder with metrics.jsonl or TensorBoard events, or one .jsonl file of verl's `file` logger"


@dataclass(frozen=True)
class Funnel:
    """A run's constructions, summed over its training steps."""

    stages: dict[str, int]
    """{stage: constructions}, in the order of `FUNNEL`."""
    rejected: dict[str, int]
    """{reason: constructions}, the commonest first."""
    steps: int
    steps_with_trained_rows: int
    objections: dict[str, int] = field(default_factory=dict)
    """{label: spliced constructions} that the run's check objects to or fails on, the commonest first."""
    faithful_share: float | None = None
    """Of the correct constructions, those without an objection; None without a check, or where none could be judged."""


@dataclass(frozen=True)
class TrainingLog:
    """One run's metrics."""

    name: str
    metrics: dict[str, dict[int, float]]
    """{metric: {step: value}}; only finite values, only steps that trained."""
    notes: tuple[str, ...]

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of a metric, steps ascending; empty if the run has none."""
        values = self.metrics.get(key, {})
        steps = sorted(values)
        return np.array(steps, dtype=int), np.array([values[step] for step in steps], dtype=float)

    def funnel(self) -> Funnel | None:
        """What became of the run's constructions; None of a run that logs none."""
        logged = {key.removeprefix(CONSTRUCT): key for key in self.metrics if key.startswith(CONSTRUCT)}
        sums = {name: int(self.series(key)[1].sum()) for name, key in logged.items()}
        if not sums.keys() & set(FUNNEL):
            return None
        reasons = _counts(sums, "rejected/")
        said = {label: n for label, n in _counts(sums, "check/").items() if label not in RESERVED}
        return Funnel(
            stages={stage: sums.get(stage, 0) for stage in FUNNEL},
            rejected=reasons,
            steps=len(self.metrics[TRAINING_STEP]),
            steps_with_trained_rows=sum(value > 0 for value in self.metrics.get(f"{CONSTRUCT}trained", {}).values()),
            objections=said,
            faithful_share=self._faithful_share(),
        )

    def _faithful_share(self) -> float | None:
        """The steps' shares, each with the weight of its correct constructions."""
        shares = self.metrics.get(CHECK + FAITHFUL_SHARE, {})
        correct = self.metrics.get(f"{CONSTRUCT}correct", {})
        total = sum(correct.get(step, 0) for step in shares)
        return sum(share * correct.get(step, 0) for step, share in shares.items()) / total if total else None


def _counts(sums: Mapping[str, int], kind: str) -> dict[str, int]:
    """Sums of the metrics of a kind by the rest of their names, those above zero, the largest first."""
    counts = Counter({name.removeprefix(kind): n for name, n in sums.items() if name.startswith(kind) and n > 0})
    return dict(counts.most_common())


def read_training_logs(paths: Sequence[Path]) -> list[TrainingLog]:
    """Read runs, named so that they differ, each from its folder or its `.jsonl` file.

    Raises:
        ValueError: nothing to read there, a broken line, or no step that trained.
    """
    resolved = [path.expanduser().resolve() for path in paths]
    folders = [path.parent if path.name == METRICS else path for path in resolved]
    names = distinct_names([path.with_suffix("") if path.is_file() else path for path in folders])
    logs = [read_training_log(path, name) for path, name in zip(resolved, names, strict=True)]
    for path, log in zip(resolved, logs, strict=True):
        if TRAINING_STEP not in log.metrics:
            raise ValueError(f"RUN = {str(path)!r} holds no training step; needs {TRAINING_STEP} in its metrics")
    return logs


def read_training_log(path: Path, name: str, *, only: str = "") -> TrainingLog:
    """Read a run; one that has not trained yet has no metrics.

    Args:
        path: its folder or its `.jsonl` file.
        only: how the names of the metrics begin that are read beside the training step.

    Raises:
        ValueError: nothing to read there, or a broken line.
    """
    file = path if path.is_file() else path / METRICS
    counts: Counter[str] = Counter()
    if file.is_file():
        logged = _from_file(file, counts)
    elif path.is_dir() and (events := sorted(path.rglob("events.out.tfevents.*"))):
        logged = _from_events(events)
    else:
        raise ValueError(f"RUN = {str(path)!r} cannot work: needs {_ALLOWED}")
    records: dict[str, dict[int, float]] = defaultdict(dict)
    for step, key, value in logged:
        if key.startswith((only, TRAINING_STEP)):
            records[key][step] = value
    metrics: dict[str, dict[int, float]] = {}
    for key, values in records.items():
        trained = {step: value for step, value in values.items() if step in records.get(TRAINING_STEP, {})}
        finite = {step: value for step, value in trained.items() if np.isfinite(value)}
        if len(finite) < len(trained):
            counts[f"values of {key} that are not finite left out"] = len(trained) - len(finite)
        if finite:
            metrics[key] = finite
    return TrainingLog(name, metrics, tuple(f"{what}: {count}" for what, count in counts.items()))


def logged_steps(
    file: Path, on_half_written: Callable[[Path], None] = lambda path: None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, metrics as they stand there) of each line of verl's `file` logger.

    Args:
        on_half_written: told where the last line is not whole.

    Raises:
        ValueError: a broken line.
    """
    for line, record in read_json_lines(file, on_half_written=on_half_written):
        step, data = record.get("step"), record.get("data")
        if not isinstance(step, int) or not isinstance(data, dict):
            raise ValueError(f"{line}: got {json.dumps(record)[:80]}, needs an integer step and data")
        yield step, data


def _from_file(file: Path, counts: Counter[str]) -> Iterator[tuple[int, str, float]]:
    for step, data in logged_steps(file, lambda _: counts.update([HALF_WRITTEN])):
        for key, value in data.items():
            if value is None:
                yield step, key, float("nan")  # as the logger writes NaN
            elif isinstance(value, int | float):
                yield step, key, float(value)


def _from_events(files: list[Path]) -> Iterator[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for file in files:
        accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0})
        accumulator.Reload()
        for key in accumulator.Tags()["scalars"]:
            yield from ((event.step, key, event.value) for event in accumulator.Scalars(key))
