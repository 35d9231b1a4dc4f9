"""A report as a terminal table, as Markdown and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from tapo.evaluation.bootstrap import Estimate
from tapo.evaluation.ratios import LABELS, label
from tapo.evaluation.report import Report, RunReport, StepReport

Table = tuple[str, list[str], list[list[str]]]
"""(title, header, rows)."""


def tables(report: Report) -> Iterator[Table]:
    """Figures and counts of each benchmark, then accuracy over steps, then differences."""
    benchmarks = dict.fromkeys(name for run in report.runs for name in run.benchmarks)
    for benchmark in benchmarks:
        runs = [run for run in report.runs if benchmark in run.benchmarks]
        yield _figures(report, benchmark, runs)
        yield _counts(report, benchmark, runs)
        if any(len(run.benchmarks[benchmark]) > 1 for run in runs):
            yield _steps(benchmark, runs)
    for comparison in report.comparisons:
        first, second = comparison.runs
        title = f"{comparison.benchmark}: {second} minus {first}, {comparison.shared} shared problems"
        rows = [
            [label(name), show(name, value, signed=True), "beyond noise" if value.beyond_noise else "within noise"]
            for name, value in comparison.differences.items()
        ]
        yield title, ["figure", "paired difference", ""], rows


def _figures(report: Report, benchmark: str, runs: list[RunReport]) -> Table:
    chosen = [run.at(benchmark, report.step) for run in runs]
    header = ["figure", *(f"{run.name}, step {step}" for run, (step, _) in zip(runs, chosen, strict=True))]
    names = dict.fromkeys(name for _, step in chosen for name in step.estimates)
    names |= dict.fromkeys(name for name in LABELS if name not in names)
    rows = [
        ["problems", *(str(step.problems) for _, step in chosen)],
        ["samples", *(str(step.samples) for _, step in chosen)],
    ]
    for name in names:
        rows.append([label(name), *(_show_in(step, name) for _, step in chosen)])
    return f"{benchmark}: value [95 % interval]", header, rows


def _counts(report: Report, benchmark: str, runs: list[RunReport]) -> Table:
    rows = []
    for run in runs:
        for kind, counts in run.at(benchmark, report.step)[1].counts.items():
            rows.append([run.name, kind.replace("_", " "), str(counts["correct"]), str(counts["wrong"])])
    return f"{benchmark}: responses behind DSR and ERR", ["run", "responses with", "correct", "wrong"], rows


def _steps(benchmark: str, runs: list[RunReport]) -> Table:
    steps = sorted({step for run in runs for step in run.benchmarks[benchmark]})
    rows = []
    for step in steps:
        reports = [run.benchmarks[benchmark].get(step) for run in runs]
        rows.append([str(step), *("-" if one is None else _show_in(one, "accuracy") for one in reports)])
    return f"{benchmark}: mean accuracy over steps", ["step", *(run.name for run in runs)], rows


def _show_in(step: StepReport, name: str) -> str:
    if name not in step.estimates:
        return "unknown"
    shown = show(name, step.estimates[name])
    return f"{shown} {step.length_unit}" if name == "length" else shown


def show(name: str, estimate: Estimate, *, signed: bool = False) -> str:
    """A rate in per cent, a length as it is: `52.9 [45.1, 60.7] %`."""
    if estimate.value is None:
        return "undefined: no such response"
    scale, unit = (1.0, "") if name == "length" else (100.0, " points" if signed else " %")
    numbers = [estimate.value, estimate.low, estimate.high]
    value, low, high = (None if n is None else f"{n * scale:{'+' if signed else ''}.1f}" for n in numbers)
    return f"{value}{unit}, no interval" if low is None else f"{value} [{low}, {high}]{unit}"


def print_report(report: Report, console: Console) -> None:
    """Tables, sentences and notes."""
    for title, header, rows in tables(report):
        console.print(f"\n{title}", style="bold", markup=False, highlight=False)
        table = RichTable(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for comparison in report.comparisons:
        console.print(comparison.sentence, markup=False, highlight=False)
    for note in report.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def to_markdown(report: Report) -> str:
    """The same as GitHub-flavoured Markdown, with the protocol at its end."""
    parts = ["# Evaluation report", ""]
    parts += [f"{comparison.sentence}\n" for comparison in report.comparisons]
    for title, header, rows in tables(report):
        parts += [f"## {title}", "", _markdown_row(header), "|" + " --- |" * len(header)]
        parts += [*(_markdown_row(row) for row in rows), ""]
    if report.notes:
        parts += ["## Notes", "", *(f"- {note}" for note in report.notes), ""]
    protocol = json.dumps(to_json(report)["manifest"], indent=2, ensure_ascii=False)
    return "\n".join([*parts, "## Manifest", "", "```json", protocol, "```", ""])


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def to_json(report: Report) -> dict[str, Any]:
    """Plain containers: rates as fractions, None where undefined."""
    return {
        "schema": 1,
        "manifest": report.protocol | {"runs": {run.name: _provenance(run) for run in report.runs}},
        "runs": {
            run.name: {
                name: {str(step): _plain(one) for step, one in steps.items()} for name, steps in run.benchmarks.items()
            }
            for run in report.runs
        },
        "comparisons": [
            {
                "benchmark": comparison.benchmark,
                "first": comparison.runs[0],
                "second": comparison.runs[1],
                "steps": list(comparison.steps),
                "shared_problems": comparison.shared,
                "second_minus_first": {
                    name: asdict(value) | {"within_noise": not value.beyond_noise}
                    for name, value in comparison.differences.items()
                },
                "sentence": comparison.sentence,
            }
            for comparison in report.comparisons
        ],
        "notes": report.notes,
    }


def _provenance(run: RunReport) -> dict[str, Any]:
    dumps = {
        name: {str(step): {"file": one.file, "sha256": one.sha256, "fields": one.fields} for step, one in steps.items()}
        for name, steps in run.benchmarks.items()
    }
    return {"folder": run.path, "evaluation": run.manifest, "dumps": dumps}


def _plain(step: StepReport) -> dict[str, Any]:
    figures = {name: asdict(value) for name, value in step.estimates.items()}
    return {
        "problems": step.problems,
        "samples": step.samples,
        "length_unit": step.length_unit,
        "figures": figures,
        "reflection_counts": step.counts,
    }


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json` and the plots; returns the files."""
    from tapo.evaluation.plots import write_plots

    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "report.md", folder / "report.json"
    data.write_text(json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    plots = write_plots(report, folder)
    pictures = "\n".join(f"![{file.stem}]({file.name})" for file in plots if file.suffix == ".png")
    markdown.write_text(f"{to_markdown(report)}\n{pictures}\n", encoding="utf-8")
    return [markdown, data, *plots]
