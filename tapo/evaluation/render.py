"""A report as tables, and on the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from tapo.evaluation.bootstrap import Estimate
from tapo.evaluation.comparison import Change
from tapo.evaluation.options import ReportCommand
from tapo.evaluation.ratios import LABELS, label
from tapo.evaluation.report import Report, RunReport, build_report
from tapo.evaluation.step_report import StepReport
from tapo.evaluation.training_logs import Funnel

MAIN_REASONS = 2
"""Reasons of rejection that the funnel names."""

Table = tuple[str, list[str], list[list[str]]]
"""(title, header, rows)."""


def print_and_write(options: ReportCommand, console: Console) -> None:
    """`tapo eval report`."""
    from tapo.evaluation.written_report import write_report

    with console.status("reading") as status:
        report = build_report(options.folders, options, progress=status.update)
    print_report(report, console)
    if options.out is not None:
        for file in write_report(report, options.out.expanduser()):
            console.print(file, highlight=False, soft_wrap=True)


def print_summary(runs: Sequence[Path], console: Console) -> None:
    """`tapo summary`: of the report, mean accuracy before and after, and the construction funnel."""
    report = build_report(runs)
    tables = [_before_and_after(report, *found) for found in _runs_by_benchmark(report)]
    _print([*tables, *_funnels(report)], report, console)


def print_report(report: Report, console: Console) -> None:
    """Tables, sentences and notes."""
    _print(tables(report), report, console)


def _print(shown: Iterable[Table], report: Report, console: Console) -> None:
    for title, header, rows in shown:
        console.print(f"\n{title}", style="bold", markup=False, highlight=False)
        table = RichTable(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for comparison in report.comparisons:
        console.print(comparison.sentence, markup=False, highlight=False)
    for note in report.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def tables(report: Report) -> Iterator[Table]:
    """Figures and counts of each benchmark and accuracy over steps, then differences, then the funnel."""
    for benchmark, runs in _runs_by_benchmark(report):
        yield _figures(report, benchmark, runs)
        yield _counts(report, benchmark, runs)
        if any(len(run.benchmarks[benchmark]) > 1 for run in runs):
            yield _steps(benchmark, runs)
    for comparison in report.comparisons:
        first, second = comparison.runs
        title = f"{comparison.benchmark}: {second} minus {first}, {comparison.shared} shared problems"
        rows = [[label(name), *_difference(name, value)] for name, value in comparison.differences.items()]
        yield title, ["figure", "paired difference", ""], rows
    yield from _funnels(report)


def _runs_by_benchmark(report: Report) -> Iterator[tuple[str, list[RunReport]]]:
    for benchmark in dict.fromkeys(name for run in report.runs for name in run.benchmarks):
        yield benchmark, [run for run in report.runs if benchmark in run.benchmarks]


def _figures(report: Report, benchmark: str, runs: list[RunReport]) -> Table:
    chosen = [run.at(benchmark, report.step) for run in runs]
    header = ["figure", *(f"{run.name}, step {step}" for run, (step, _) in zip(runs, chosen, strict=True))]
    names = dict.fromkeys(name for _, step in chosen for name in step.estimates)
    rows = [
        ["problems", *(str(step.problems) for _, step in chosen)],
        ["samples", *(str(step.samples) for _, step in chosen)],
    ]
    rows += [[label(name), *(_show_in(step, name) for _, step in chosen)] for name in names | dict.fromkeys(LABELS)]
    return f"{benchmark}: value [95 % interval]", header, rows


def _counts(report: Report, benchmark: str, runs: list[RunReport]) -> Table:
    rows = [
        [run.name, kind.replace("_", " "), str(counts["correct"]), str(counts["wrong"])]
        for run in runs
        for kind, counts in run.at(benchmark, report.step)[1].counts.items()
    ]
    return f"{benchmark}: responses behind DSR and ERR", ["run", "responses with", "correct", "wrong"], rows


def _steps(benchmark: str, runs: list[RunReport]) -> Table:
    rows = []
    for step in sorted({step for run in runs for step in run.benchmarks[benchmark]}):
        reports = [run.benchmarks[benchmark].get(step) for run in runs]
        rows.append([str(step), *("-" if one is None else _show_in(one, "accuracy") for one in reports)])
    changes = [run.changes.get(benchmark) for run in runs]
    if any(changes):
        rows.append(["change", *("-" if one is None else ", ".join(_show_change(one)) for one in changes)])
    return f"{benchmark}: mean accuracy over steps", ["step", *(run.name for run in runs)], rows


def _before_and_after(report: Report, benchmark: str, runs: list[RunReport]) -> Table:
    rows = []
    for run in runs:
        steps, (last, after) = run.benchmarks[benchmark], run.at(benchmark, report.step)
        change = run.changes.get(benchmark)
        shown = (
            ["-", "-", ""] if change is None else [_show_in(steps[change.steps[0]], "accuracy"), *_show_change(change)]
        )
        rows.append([run.name, str(last), shown[0], _show_in(after, "accuracy"), *shown[1:]])
    return f"{benchmark}: mean accuracy [95 % interval]", ["run", "steps", "before", "after", "change", ""], rows


def _show_change(change: Change) -> list[str]:
    return _difference("accuracy", change.accuracy)


def _funnels(report: Report) -> Iterator[Table]:
    funnels = {run.name: run.funnel for run in report.runs if run.funnel}
    if funnels:
        stages = next(iter(funnels.values())).stages
        header = ["run", *stages, "steps with trained rows", "rejected most for"]
        yield "Constructions, sum over steps", header, [[name, *_funnel(funnel)] for name, funnel in funnels.items()]


def _funnel(funnel: Funnel) -> list[str]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in list(funnel.rejected.items())[:MAIN_REASONS])
    trained = f"{funnel.steps_with_trained_rows} of {funnel.steps}"
    return [*map(str, funnel.stages.values()), trained, reasons or "-"]


def _show_in(step: StepReport, name: str) -> str:
    if name not in step.estimates:
        return "unknown"
    shown = show(name, step.estimates[name])
    return f"{shown} {step.length_unit}" if name == "length" else shown


def _difference(name: str, value: Estimate) -> list[str]:
    return [show(name, value, signed=True), "beyond noise" if value.beyond_noise else "within noise"]


def show(name: str, estimate: Estimate, *, signed: bool = False) -> str:
    """A rate in per cent, a length as it is: `52.9 [45.1, 60.7] %`."""
    if estimate.value is None:
        return "undefined: no such response"
    scale, unit = (1.0, "") if name == "length" else (100.0, " points" if signed else " %")
    numbers = [estimate.value, estimate.low, estimate.high]
    value, low, high = (None if n is None else f"{n * scale:{'+' if signed else ''}.1f}" for n in numbers)
    return f"{value}{unit}, no interval" if low is None else f"{value} [{low}, {high}]{unit}"
