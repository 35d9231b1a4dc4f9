"""A report as Markdown, JSON and plots."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tapo.evaluation.comparison import Comparison
from tapo.evaluation.plots import write_plots
from tapo.evaluation.render import tables
from tapo.evaluation.report import Report, RunReport
from tapo.evaluation.step_report import StepReport


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json` and the plots; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "report.md", folder / "report.json"
    data.write_text(json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    plots = write_plots(report, folder)
    pictures = "\n".join(f"![{file.stem}]({file.name})" for file in plots if file.suffix == ".png")
    markdown.write_text(f"{to_markdown(report)}\n{pictures}\n", encoding="utf-8")
    return [markdown, data, *plots]


def to_markdown(report: Report) -> str:
    """GitHub-flavoured, with the protocol at its end."""
    parts = ["# Evaluation report", ""]
    parts += [f"{comparison.sentence}\n" for comparison in report.comparisons]
    for title, header, rows in tables(report):
        parts += [f"## {title}", "", _markdown_row(header), "|" + " --- |" * len(header)]
        parts += [*(_markdown_row(row) for row in rows), ""]
    if report.notes:
        parts += ["## Notes", "", *(f"- {note}" for note in report.notes), ""]
    protocol = json.dumps(_manifest(report), indent=2, ensure_ascii=False)
    return "\n".join([*parts, "## Manifest", "", "```json", protocol, "```", ""])


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def to_json(report: Report) -> dict[str, Any]:
    """Plain containers: rates as fractions, None where undefined."""
    return {
        "schema": 1,
        "manifest": _manifest(report),
        "runs": {run.name: _each_step(run, StepReport.describe) for run in report.runs},
        "changes": {run.name: {name: change.describe() for name, change in run.changes.items()} for run in report.runs},
        "comparisons": [_comparison(comparison) for comparison in report.comparisons],
        "constructions": {run.name: asdict(run.funnel) for run in report.runs if run.funnel},
        "notes": report.notes,
    }


def _manifest(report: Report) -> dict[str, Any]:
    runs = {
        run.name: {"folder": run.path, "evaluation": run.manifest, "dumps": _each_step(run, lambda step: step.source)}
        for run in report.runs
    }
    return report.protocol | {"runs": runs}


def _each_step(run: RunReport, part: Callable[[StepReport], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {str(step): part(one) for step, one in steps.items()} for name, steps in run.benchmarks.items()}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    first, second = comparison.runs
    sides = {"benchmark": comparison.benchmark, "first": first, "second": second}
    return sides | comparison.describe() | {"sentence": comparison.sentence}
