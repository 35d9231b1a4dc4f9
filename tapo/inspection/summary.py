"""Accuracy before and after, and the construction funnel, of one or more runs."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tapo.core.funnel import FUNNEL


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy of each problem's samples at one step."""

    by_problem: dict[str, float]
    samples: int

    @property
    def mean(self) -> float:
        """Over problems."""
        return statistics.fmean(self.by_problem.values())

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {standard_error(list(self.by_problem.values())):.3f}"


def standard_error(values: Sequence[float]) -> float:
    """Of a mean over problems; 0 for a single one."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def read_accuracies(run: Path) -> dict[int, Accuracy]:
    """{step: accuracy} of a run whose `trainer.validation_data_dir` is `RUN/validation`.

    Raises:
        ValueError: the run has no validation dump.
    """
    accuracies = {}
    for path in sorted((run / "validation").glob("*.jsonl"), key=lambda path: int(path.stem)):
        scores: dict[str, list[float]] = defaultdict(list)
        with path.open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                scores[row["input"]].append(float(row.get("acc", row["score"])))
        samples = sum(map(len, scores.values()))
        accuracies[int(path.stem)] = Accuracy({key: statistics.fmean(row) for key, row in scores.items()}, samples)
    if not accuracies:
        raise ValueError(f"{run} holds no validation/STEP.jsonl; set trainer.validation_data_dir")
    return accuracies


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics of each training step, from verl's `file` logger writing to `RUN/metrics.jsonl`."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        records = [json.loads(line)["data"] for line in file]
    return [record for record in records if "training/global_step" in record]


def print_summary(runs: Sequence[Path], console: Console) -> None:
    """The accuracy table, the paired difference of the first two runs, and the funnel of those that constructed."""
    accuracies = {run.name: read_accuracies(run) for run in runs}
    table = Table("run", "steps", "before", "after", "change", title="Held-out accuracy (mean ± standard error)")
    for name, by_step in accuracies.items():
        first, last = min(by_step), max(by_step)
        before, after = by_step[first], by_step[last]
        table.add_row(name, str(last), str(before), str(after), difference(after, before))
    console.print(table)
    some = next(iter(next(iter(accuracies.values())).values()))
    console.print(f"{len(some.by_problem)} problems, {some.samples // len(some.by_problem)} samples each")
    if len(accuracies) > 1:
        (one, first_run), (two, second_run) = list(accuracies.items())[:2]
        console.print(compare(one, first_run[max(first_run)], two, second_run[max(second_run)]))
    print_funnel({run.name: read_metrics(run) for run in runs}, console)


def difference(after: Accuracy, before: Accuracy) -> str:
    """The mean difference over the problems both have, with its paired standard error."""
    deltas = paired(after, before)
    return f"{statistics.fmean(deltas):+.3f} ± {standard_error(deltas):.3f}"


def paired(one: Accuracy, two: Accuracy) -> list[float]:
    """Differences problem by problem.

    Raises:
        ValueError: the two share no problem.
    """
    shared = one.by_problem.keys() & two.by_problem.keys()
    if not shared:
        raise ValueError("the two evaluations share no problem")
    return [one.by_problem[key] - two.by_problem[key] for key in sorted(shared)]


def compare(one: str, first: Accuracy, two: str, second: Accuracy) -> str:
    """A plain sentence on which run ended ahead, or that the difference is within noise."""
    deltas = paired(first, second)
    mean, error = statistics.fmean(deltas), standard_error(deltas)
    sentence = f"{one} against {two} at the end: {mean:+.3f} ± {error:.3f}"
    if abs(mean) <= 1.96 * error:
        return f"{sentence}, within noise"
    return f"{sentence}: {one if mean > 0 else two} is ahead"


def print_funnel(metrics: dict[str, list[dict[str, Any]]], console: Console) -> None:
    """Constructions by stage, summed over the steps of each run that constructed."""
    table = Table("run", *FUNNEL, "steps with trained rows", "rejected most for", title="Construction funnel")
    for name, steps in metrics.items():
        if not any(step.get("tapo/construct/attempted") for step in steps):
            continue
        sums = [sum(int(step[f"tapo/construct/{stage}"]) for step in steps) for stage in FUNNEL]
        with_rows = sum(step["tapo/construct/trained"] > 0 for step in steps)
        table.add_row(name, *map(str, sums), f"{with_rows} of {len(steps)}", main_reasons(steps))
    if table.row_count:
        console.print(table)


def main_reasons(steps: Sequence[dict[str, Any]], most: int = 2) -> str:
    """The commonest reasons of rejection with their counts."""
    prefix = "tapo/construct/rejected/"
    counts: dict[str, int] = defaultdict(int)
    for step in steps:
        for key, value in step.items():
            if key.startswith(prefix):
                counts[key.removeprefix(prefix)] += int(value)
    ranked = sorted(counts.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{reason} {count}" for reason, count in ranked if count) or "-"
