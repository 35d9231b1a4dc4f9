"""The report of a comparison as tables on the terminal, and as Markdown, JSON and plots."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.comparison.figures import ACCURACY, Beside, RunFigures, Section, tokens
from tapo.comparison.report import ComparisonReport
from tapo.comparison.seeds import OverSeeds
from tapo.evaluation.folders import PLAIN
from tapo.evaluation.plots import draw_line, new_figure, save
from tapo.evaluation.render import Table, markdown, print_tables, show, write_files
from tapo.evaluation.step_report import label
from tapo.terminal import say


def print_comparison(report: ComparisonReport, console: Console) -> None:
    """The tables that are compared, and the sentences."""
    say(f"\n{report.stated.plan.statement.strip()}", console)
    for section in report.sections:
        print_tables(_main_tables(section), console)
    for sentence in sentences(report):
        say(sentence, console)
    for note in report.notes:
        say(f"Note: {note}", console)


def write_comparison(report: ComparisonReport, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json` and the plots; returns the files."""
    plot = partial(_write_plots, report, folder)
    return write_files(folder, to_json(report), plot, partial(to_markdown, report))


def to_markdown(report: ComparisonReport, plots: Iterable[Path] = ()) -> str:
    """Statement first, then what follows, then the tables."""
    plan = report.stated.plan
    conditions = [f"**{name}**: {group.says}" for name, group in plan.groups.items() if group.says]
    paragraphs = [plan.statement.strip(), *conditions, *sentences(report)]
    every = [table for section in report.sections for table in _tables(section)]
    return markdown("Comparison", paragraphs, every, report.notes, _manifest(report), plots)


def sentences(report: ComparisonReport) -> Iterator[str]:
    """What is beyond noise and what is not, of each run against the one it is compared with; what is missing."""
    for section in report.sections:
        for run in section.others():
            yield " ".join(_told(section, run))
        yield from _summary(section)
    if report.missing:
        told = "; ".join(f"{name} ({why})" for name, why in report.missing.items())
        yield f"Missing: {told}."
    yield from _statements(report)


def _statements(report: ComparisonReport) -> Iterator[str]:
    """When what was stated."""
    for number, entry in enumerate(report.statements):
        done = entry["runs_complete"]
        when = "before any of its runs was complete" if not done else f"with {done} of its runs complete"
        what = "changed" if number else "stated"
        yield f"The plan {entry['digest'][:19]} was {what} on {entry['time']}, {when} (plans/{entry['copy']})."


def _told(section: Section, run: RunFigures) -> Iterator[str]:
    assert run.at_equal_steps
    yield f"{_where(section)}{run.name} against {section.against}, mean accuracy at {_difference(run.at_equal_steps)}"
    if run.at_equal_tokens:
        yield f"At equal generated tokens, {_difference(run.at_equal_tokens)}"
    else:
        yield "They cannot be compared at equal generated tokens: one of them has generated none that are known."


def _difference(beside: Beside) -> str:
    difference, seeds = beside.difference, len(beside.seeds)
    shown = show(ACCURACY, difference.estimate, signed=True)
    return f"{beside.at}: {shown}, {beside.verdict} (ahead in {difference.ahead} of {seeds} seeds)."


def _summary(section: Section) -> Iterator[str]:
    """Which runs are beyond noise at equal steps and at equal tokens."""
    others = section.others()
    for side, told in (("ahead", "ahead of"), ("behind", "behind")):
        names = [
            run.name
            for run in others
            if all(one and one.verdict == f"{side} beyond noise" for one in (run.at_equal_steps, run.at_equal_tokens))
        ]
        if others:
            named = ", ".join(names) or "no run"
            both = "at equal steps and at equal tokens"
            yield f"{_where(section)}Beyond noise {told} {section.against}, {both}: {named}."


def _where(section: Section) -> str:
    return "".join(f"{part}: " for part in _names(section))


def _names(section: Section) -> list[str]:
    return [part for part in (section.group, section.benchmark) if part and part != PLAIN]


def _main_tables(section: Section) -> Iterator[Table]:
    where = _where(section)
    rows = [_at_equal_steps(section, run) for run in section.runs]
    header = ["run", "seeds", "step", "accuracy", f"minus {section.against}", "", "tokens generated", "tokens trained"]
    yield f"{where}At equal steps", [*header, "seconds"], rows
    rows = [_at_equal_tokens(run, run.at_equal_tokens) for run in section.others() if run.at_equal_tokens]
    if rows:
        header = ["run", "tokens generated by each", "accuracy", section.against, f"minus {section.against}", ""]
        yield f"{where}At equal generated tokens", header, rows


def _at_equal_steps(section: Section, run: RunFigures) -> list[str]:
    cost, beside = run.mean_cost(run.step), run.at_equal_steps
    compared = [show(ACCURACY, beside.difference.estimate, signed=True), beside.verdict] if beside else ["", ""]
    spent = [f"{cost.generated:,.0f}", f"{cost.trained:,.0f}", f"{cost.seconds:,.0f}"]
    return [run.name, str(len(run.seeds)), str(run.step), _shown(run.figures[ACCURACY]), *compared, *spent]


def _at_equal_tokens(run: RunFigures, beside: Beside) -> list[str]:
    own, other = _shown(beside.own), _shown(beside.other)
    return [run.name, beside.at, own, other, show(ACCURACY, beside.difference.estimate, signed=True), beside.verdict]


def _tables(section: Section) -> Iterator[Table]:
    yield from _main_tables(section)
    where, runs = _where(section), section.runs
    steps = sorted({step for run in runs for step in run.accuracies})
    names = [run.name for run in runs]
    rows = [[str(step), *(_shown(run.accuracies.get(step)) for run in runs)] for step in steps]
    yield f"{where}Mean accuracy over steps", ["step", *names], rows
    budgets = list(dict.fromkeys(budget for run in runs for budget in run.accuracies_by_budget))
    if budgets:
        rows = [[tokens(budget), *(_at_budget(run, budget) for run in runs)] for budget in budgets]
        yield f"{where}Mean accuracy over generated tokens", ["tokens generated", *names], rows
    figures = dict.fromkeys(name for run in runs for name in run.figures)
    rows = [[label(name), *(_figure(run, name) for run in runs)] for name in figures]
    header = ["figure", *(f"{run.name}, step {run.step}" for run in runs)]
    yield f"{where}Figures, all seeds together", header, rows
    rows = [
        [run.name, kind.replace("_", " "), str(of_kind["correct"]), str(of_kind["wrong"])]
        for run in runs
        for kind, of_kind in run.counts.items()
    ]
    yield f"{where}Responses by reflection and correctness", ["run", "responses with", "correct", "wrong"], rows
    seeds = sorted({seed for run in runs for seed in run.seeds})
    rows = [[run.name, *(_of_seed(run.figures[ACCURACY], seed) for seed in seeds)] for run in runs]
    yield f"{where}Mean accuracy of each seed, %", ["run", *(f"seed {seed}" for seed in seeds)], rows


def _figure(run: RunFigures, name: str) -> str:
    shown = _shown(run.figures.get(name), name)
    return f"{shown} {run.length_unit}" if name == "length" else shown


def _at_budget(run: RunFigures, budget: float) -> str:
    found = run.accuracies_by_budget[budget]
    if found is not None:
        return _shown(found)
    last = run.mean_cost(run.last_step).generated
    return f"ended at {tokens(last)}" if last < budget else "not known for every seed"


def _of_seed(figure: OverSeeds, seed: int) -> str:
    value = figure.by_seed.get(seed)
    return "-" if value is None else f"{100 * value:.1f}"


def _shown(figure: OverSeeds | None, name: str = ACCURACY) -> str:
    return "-" if figure is None else show(name, figure.estimate)


def to_json(report: ComparisonReport) -> dict[str, Any]:
    """Plain containers: rates as fractions, None where undefined."""
    return {
        "schema": 1,
        "statement": report.stated.plan.statement,
        "against": report.stated.plan.against,
        "manifest": _manifest(report),
        "sections": [_section_json(section) for section in report.sections],
        "sentences": list(sentences(report)),
        "missing": report.missing,
        "statements": report.statements,
        "notes": report.notes,
    }


def _manifest(report: ComparisonReport) -> dict[str, Any]:
    return report.protocol | {"plan_as_stated": report.stated.plan.model_dump(mode="json")}


def _section_json(section: Section) -> dict[str, Any]:
    runs = {run.name: asdict(run) | {"costs": _costs_json(run)} for run in section.runs}
    return {"group": section.group, "benchmark": section.benchmark, "runs": runs}


def _costs_json(run: RunFigures) -> dict[int, dict[int, dict[str, float]]]:
    return {step: {seed: cost._asdict() for seed, cost in of.items()} for step, of in run.costs.items()}


def _write_plots(report: ComparisonReport, folder: Path) -> list[Path]:
    """Accuracy over steps and over generated tokens, a panel each for every section."""
    if not report.sections:
        return []
    # A run has one colour, whatever it is beside.
    colours = {name: f"C{index}" for index, name in enumerate(report.stated.plan.runs)}
    figure, axes = new_figure(2, len(report.sections))
    for row, section in enumerate(report.sections):
        over_steps, over_tokens = axes[2 * row : 2 * row + 2]
        for run in section.runs:
            steps, accuracies = list(run.accuracies), [one.estimate for one in run.accuracies.values()]
            draw_line(over_steps, steps, accuracies, run.name, colours[run.name])
            spent = [run.mean_cost(step).generated / 1000 for step in steps]
            draw_line(over_tokens, spent, accuracies, run.name, colours[run.name])
        title = ", ".join(_names(section)) or "mean accuracy"
        over_steps.set(xlabel="step", ylabel="mean accuracy (%)", title=title)
        over_tokens.set(xlabel="tokens generated (thousands)", ylabel="mean accuracy (%)", title=title)
        for panel in (over_steps, over_tokens):
            panel.grid(alpha=0.3)
        over_steps.legend()
    return save(figure, folder, "accuracy")
