"""A report as tables on the terminal, and as Markdown, JSON and plots."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Template
from rich.console import Console
from rich.table import Table as RichTable

from tapo.core.funnel import FUNNEL
from tapo.evaluation.bootstrap import Estimate
from tapo.evaluation.options import ReportCommand, SummaryCommand
from tapo.evaluation.plots import write_plots
from tapo.evaluation.report import Comparison, Report, RunReport, build_report
from tapo.evaluation.step_report import IF_DUMPED, LABELS, Reported, StepReport, label
from tapo.terminal import say

MARKDOWN = Path(__file__).parent / "data" / "report.md.j2"
MAIN_REASONS = 2
"""Reasons of rejection, and labels of a check, that the tables name."""

Table = tuple[str, list[str], list[list[str]]]
"""(title, header, rows)."""


def report_runs(options: ReportCommand, console: Console) -> None:
    """`tapo eval report`."""
    report = _built(options, console)
    print_report(report, tables(report), console)
    if options.out is not None:
        for file in write_report(report, options.out.expanduser()):
            say(str(file), console)


def summarise_runs(options: SummaryCommand, console: Console) -> None:
    """`tapo summary`: of the report, mean accuracy before and after, and the construction funnel."""
    report = _built(options, console)
    accuracies = [_before_and_after(benchmark, runs) for benchmark, runs in report.by_benchmark().items()]
    print_report(report, [*accuracies, *_funnels(report)], console)


def _built(options: SummaryCommand, console: Console) -> Report:
    with console.status("reading") as status:
        return build_report(options.folders, options, progress=status.update)


def print_report(report: Report, shown: Iterable[Table], console: Console) -> None:
    """Tables, sentences and notes."""
    print_tables(shown, console)
    for comparison in report.comparisons:
        say(comparison.sentence, console)
    for note in report.notes:
        say(f"Note: {note}", console)


def print_tables(shown: Iterable[Table], console: Console) -> None:
    """Each under its title."""
    for title, header, rows in shown:
        say(f"\n{title}", console, style="bold")
        table = RichTable(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def tables(report: Report) -> Iterator[Table]:
    """Figures and counts of each benchmark and accuracy over steps, then differences, then the funnel."""
    for benchmark, runs in report.by_benchmark().items():
        yield _figures(benchmark, [run.at(benchmark) for run in runs])
        yield _counts(benchmark, [run.at(benchmark) for run in runs])
        if any(len(run.benchmarks[benchmark]) > 1 for run in runs):
            yield _steps(benchmark, runs)
    for comparison in report.comparisons:
        first, second = comparison.runs
        title = f"{comparison.benchmark}: {second} minus {first}, {comparison.shared} shared problems"
        rows = [[label(name), *_difference(comparison, name)] for name in comparison.differences]
        yield title, ["figure", "paired difference", ""], rows
    yield from _funnels(report)


def _figures(benchmark: str, reported: list[Reported]) -> Table:
    header = ["figure", *(f"{run}, step {step}" for run, step, *_ in reported)]
    reports = [one.report for one in reported]
    rows = [[name, *(str(getattr(report, name)) for report in reports)] for name in ("problems", "samples")]
    usual = (name for name in LABELS if name not in IF_DUMPED)
    names = dict.fromkeys([*(name for report in reports for name in report.figures), *usual])
    rows += [[label(name), *(_show_in(report, name) for report in reports)] for name in names]
    return f"{benchmark}: value [95 % interval]", header, rows


def _counts(benchmark: str, reported: list[Reported]) -> Table:
    rows = [
        [run, kind.replace("_", " "), str(counts["correct"]), str(counts["wrong"])]
        for run, _, report, *_ in reported
        for kind, counts in report.reflection_counts.items()
    ]
    return (
        f"{benchmark}: responses by reflection and correctness",
        ["run", "responses with", "correct", "wrong"],
        rows,
    )


def _steps(benchmark: str, runs: list[RunReport]) -> Table:
    rows = []
    for step in sorted({step for run in runs for step in run.benchmarks[benchmark]}):
        reports = [run.benchmarks[benchmark].get(step) for run in runs]
        rows.append([str(step), *("-" if one is None else _show_in(one.report, "accuracy") for one in reports)])
    changes = [run.changes.get(benchmark) for run in runs]
    if any(changes):
        rows.append(["change", *("-" if one is None else ", ".join(_difference(one, "accuracy")) for one in changes)])
    return f"{benchmark}: mean accuracy over steps", ["step", *(run.name for run in runs)], rows


def _before_and_after(benchmark: str, runs: list[RunReport]) -> Table:
    rows = []
    for run in runs:
        before, change = "-", ["-", ""]
        if found := run.changes.get(benchmark):
            before = _show_in(run.benchmarks[benchmark][found.steps[0]].report, "accuracy")
            change = _difference(found, "accuracy")
        after = run.at(benchmark)
        rows.append([run.name, str(after.step), before, _show_in(after.report, "accuracy"), *change])
    return f"{benchmark}: mean accuracy [95 % interval]", ["run", "steps", "before", "after", "change", ""], rows


def _funnels(report: Report) -> Iterator[Table]:
    rows = []
    for run in report.runs:
        if run.funnel:
            trained = f"{run.funnel.steps_with_trained_rows} of {run.funnel.steps}"
            rows.append([run.name, *map(str, run.funnel.stages.values()), trained, _most(run.funnel.rejected)])
    if rows:
        header = ["run", *FUNNEL, "steps with trained rows", "rejected most for"]
        yield "Constructions, sum over steps", header, rows
    checked = [(run.name, run.funnel) for run in report.runs if run.funnel and run.funnel.faithful_share is not None]
    if checked:
        rows = [[name, f"{of.faithful_share:.1%}".replace("%", " %"), _most(of.objections)] for name, of in checked]
        yield "Constructions under the run's check", ["run", "correct without objection", "objected most to"], rows


def _most(counts: Mapping[str, int]) -> str:
    return ", ".join([f"{name} {count}" for name, count in counts.items()][:MAIN_REASONS]) or "-"


def _show_in(report: StepReport, name: str) -> str:
    if name not in report.figures:
        return "unknown"
    shown = show(name, report.figures[name])
    return f"{shown} {report.length_unit}" if name == "length" else shown


def _difference(comparison: Comparison, name: str) -> list[str]:
    value = comparison.differences[name]
    return [show(name, value, signed=True), "beyond noise" if value.beyond_noise else "within noise"]


def show(name: str, estimate: Estimate, *, signed: bool = False) -> str:
    """A rate in per cent, a length as it is: `52.9 [45.1, 60.7] %`."""
    if estimate.value is None:
        return "undefined: no such response"
    scale, unit = (1.0, "") if name == "length" else (100.0, " points" if signed else " %")
    numbers = [estimate.value, estimate.low, estimate.high]
    value, low, high = (None if n is None else f"{n * scale:{'+' if signed else ''}.1f}" for n in numbers)
    return f"{value}{unit}, no interval" if low is None else f"{value} [{low}, {high}]{unit}"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json` and the plots; returns the files."""
    plot = partial(write_plots, report, folder)
    return write_files(folder, to_json(report), plot, partial(to_markdown, report))


def write_files(
    folder: Path, data: Mapping[str, Any], plot: Callable[[], list[Path]], page: Callable[[list[Path]], str]
) -> list[Path]:
    """Write `report.json`, the plots, and `report.md`, which shows them; returns the files, the page first.

    Args:
        plot: writes the plots to the folder.
        page: Markdown, given the plots' files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markdown_file, data_file = folder / "report.md", folder / "report.json"
    told = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    data_file.write_text(f"{told}\n", encoding="utf-8")
    plots = plot()
    markdown_file.write_text(page(plots), encoding="utf-8")
    return [markdown_file, data_file, *plots]


def to_markdown(report: Report, plots: Iterable[Path] = ()) -> str:
    """GitHub-flavoured, with the protocol and the plots at its end."""
    sentences = [comparison.sentence for comparison in report.comparisons]
    return markdown("Evaluation report", sentences, tables(report), report.notes, _manifest(report), plots)


def markdown(
    title: str,
    paragraphs: Iterable[str],
    shown: Iterable[Table],
    notes: Sequence[str],
    manifest: dict[str, Any],
    plots: Iterable[Path],
) -> str:
    """A report as a page; of the plots the PNG files, which must lie beside it."""
    template = Template(MARKDOWN.read_text(encoding="utf-8"), trim_blocks=True, lstrip_blocks=True)
    pictures = [file for file in plots if file.suffix == ".png"]
    told = json.dumps(manifest, indent=2, ensure_ascii=False)
    return template.render(title=title, paragraphs=paragraphs, tables=shown, notes=notes, manifest=told, plots=pictures)


def to_json(report: Report) -> dict[str, Any]:
    """Plain containers: rates as fractions, None where undefined."""
    return {
        "schema": 1,
        "manifest": _manifest(report),
        "runs": {run.name: _each_step(run, lambda reported: asdict(reported.report)) for run in report.runs},
        "changes": {run.name: {name: change.describe() for name, change in run.changes.items()} for run in report.runs},
        "comparisons": [
            {"benchmark": one.benchmark, "first": one.runs[0], "second": one.runs[1]}
            | one.describe()
            | {"sentence": one.sentence}
            for one in report.comparisons
        ],
        "constructions": {run.name: asdict(run.funnel) for run in report.runs if run.funnel},
        "notes": report.notes,
    }


def _manifest(report: Report) -> dict[str, Any]:
    runs = {}
    for run in report.runs:
        dumps = _each_step(run, lambda reported: reported.source)
        runs[run.name] = {"folder": str(run.path), "evaluation": run.manifest, "dumps": dumps}
    return report.protocol | {"runs": runs}


def _each_step(run: RunReport, part: Callable[[Reported], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {str(step): part(one) for step, one in steps.items()} for name, steps in run.benchmarks.items()}
