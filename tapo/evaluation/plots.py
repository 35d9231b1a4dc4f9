"""The report's plots, as PNG and SVG."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapo.evaluation.report import Report, RunReport
from tapo.evaluation.step_report import KS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write every plot that the report has data for; returns the files."""
    return [file for name, figure in _figures(report) for file in save(figure, folder, name, bbox_inches="tight")]


def save(figure: "Figure", folder: Path, name: str, **options: Any) -> list[Path]:
    """Write a figure in every format; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    for file in files:
        figure.savefig(file, dpi=150, **options)
    return files


def new_figure(columns: int, rows: int = 1, *, width: float = 4.5, height: float = 3.5) -> tuple["Figure", list[Any]]:
    """A figure with its axes in reading order, on a canvas that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _figures(report: Report) -> Iterator[tuple[str, "Figure"]]:
    benchmarks = report.by_benchmark()
    drawings = [("pass_at_k", _draw_pass_at_k), ("dsr_err", _draw_rates)]
    if any(len(steps) > 1 for run in report.runs for steps in run.benchmarks.values()):
        drawings.append(("accuracy_over_steps", _draw_steps))
    for name, draw in drawings:
        figure, axes = new_figure(len(benchmarks))
        for panel, benchmark in zip(axes, benchmarks, strict=True):
            panel.set_title(benchmark)
            for index, run in enumerate(report.runs):
                if benchmark in run.benchmarks:
                    draw(panel, run, benchmark, f"C{index}")
            panel.grid(alpha=0.3)
            if panel.get_legend_handles_labels()[0]:
                panel.legend()
        yield name, figure


def _draw_pass_at_k(panel: Any, run: RunReport, benchmark: str, colour: str) -> None:
    figures = run.at(benchmark).report.figures
    ks = [k for k in KS if f"pass@{k}" in figures]
    _line(panel, ks, [figures[f"pass@{k}"] for k in ks], run.name, colour)
    panel.set(xlabel="k", ylabel="Pass@k (%)", xscale="log")
    panel.set_xticks(KS, labels=list(map(str, KS)))
    panel.minorticks_off()


def _draw_steps(panel: Any, run: RunReport, benchmark: str, colour: str) -> None:
    steps = run.benchmarks[benchmark]
    _line(panel, list(steps), [one.figures["accuracy"] for one in steps.values()], run.name, colour)
    panel.set(xlabel="step", ylabel="mean accuracy (%)")


def _draw_rates(panel: Any, run: RunReport, benchmark: str, colour: str) -> None:
    figures = run.at(benchmark).report.figures
    direct, reflected = figures["dsr"], figures["err"]
    panel.set(xlabel="ERR (%)", ylabel="DSR (%)")
    if direct.value is None or reflected.value is None:
        missing = "no direct response" if direct.value is None else "no reflection"
        panel.plot([], [], "o", color=colour, label=f"{run.name}: {missing}")
        return
    panel.plot(100 * reflected.value, 100 * direct.value, "o", color=colour, label=run.name)
    # Lines rather than error bars: percentile intervals need not contain the estimate.
    if reflected.low is not None and reflected.high is not None:
        panel.plot([100 * reflected.low, 100 * reflected.high], [100 * direct.value] * 2, color=colour)
    if direct.low is not None and direct.high is not None:
        panel.plot([100 * reflected.value] * 2, [100 * direct.low, 100 * direct.high], color=colour)


def _line(panel: Any, xs: list[int], estimates: list[Any], name: str, colour: str) -> None:
    panel.plot(xs, [100 * one.value for one in estimates], marker="o", color=colour, label=name)
    if all(one.low is not None for one in estimates):
        low, high = [100 * one.low for one in estimates], [100 * one.high for one in estimates]
        panel.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
