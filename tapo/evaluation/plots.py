"""Plots as PNG and SVG: the report's, and training dynamics with the construction funnel, runs beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console

from tapo.core.funnel import FUNNEL
from tapo.evaluation.options import PlotCommand
from tapo.evaluation.report import Report, RunReport
from tapo.evaluation.step_report import KS
from tapo.evaluation.training_logs import TrainingLog, read_training_logs
from tapo.terminal import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
PANELS = (
    ("OTS weight, mean", ("tapo/ots/weight/mean",)),
    ("policy-gradient loss", ("actor/pg_loss",)),
    ("training accuracy", ("critic/score/mean",)),
    ("gradient norm", ("actor/grad_norm",)),
    ("response length (tokens)", ("response_length/mean",)),
    ("KL", ("actor/kl_loss", "actor/reward_kl_penalty", "actor/ppo_kl")),
)
"""(title, metrics): the first metric that every run has, else that any has, is drawn, since two kinds of KL do not
compare. The last one is the KL from the policy that sampled; the others are from the reference policy."""


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write every plot that the report has data for; returns the files."""
    benchmarks = report.by_benchmark()
    drawings = [("pass_at_k", _draw_pass_at_k), ("dsr_err", _draw_rates)]
    if any(len(steps) > 1 for run in report.runs for steps in run.benchmarks.values()):
        drawings.append(("accuracy_over_steps", _draw_steps))
    files = []
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
        files += save(figure, folder, name, bbox_inches="tight")
    return files


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


def _draw_pass_at_k(panel: Any, run: RunReport, benchmark: str, colour: str) -> None:
    figures = run.at(benchmark).report.figures
    ks = [k for k in KS if f"pass@{k}" in figures]
    draw_line(panel, ks, [figures[f"pass@{k}"] for k in ks], run.name, colour)
    panel.set(xlabel="k", ylabel="Pass@k (%)", xscale="log")
    panel.set_xticks(KS, labels=list(map(str, KS)))
    panel.minorticks_off()


def _draw_steps(panel: Any, run: RunReport, benchmark: str, colour: str) -> None:
    steps = run.benchmarks[benchmark]
    draw_line(panel, list(steps), [one.report.figures["accuracy"] for one in steps.values()], run.name, colour)
    panel.set(xlabel="step", ylabel="mean accuracy (%)")


def _draw_rates(panel: Any, run: RunReport, benchmark: str, colour: str) -> None:
    figures = run.at(benchmark).report.figures
    direct, reflected = figures["dsr"], figures["err"]
    panel.set(xlabel="P(correct | reflection) (%)", ylabel="P(correct | no reflection) (%)")
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


def draw_line(panel: Any, xs: Sequence[float], estimates: Sequence[Any], name: str, colour: str) -> None:
    """Rates in per cent, with their intervals as a band where all have one."""
    panel.plot(xs, [100 * one.value for one in estimates], marker="o", color=colour, label=name)
    if all(one.low is not None for one in estimates):
        low, high = [100 * one.low for one in estimates], [100 * one.high for one in estimates]
        panel.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)


def plot_runs(options: PlotCommand, console: Console) -> None:
    """`tapo plot`: draw `dynamics.png` and `.svg`, and say what is missing.

    Raises:
        ValueError: a run cannot be read.
    """
    logs = read_training_logs(options.runs)
    notes = [f"{log.name}: {note}" for log in logs for note in log.notes]
    figure, axes = new_figure(4, 2, width=4, height=3)
    for panel, (title, keys) in zip(axes, PANELS, strict=False):
        _draw_metric(panel, title, choose(keys, logs), logs, options.smooth, notes)
    _draw_funnel(axes[len(PANELS)], logs, notes)
    axes[-1].axis("off")
    handles = [axes[0].plot([], [], color=f"C{index}", label=log.name)[0] for index, log in enumerate(logs)]
    axes[-1].legend(handles=handles, loc="center", title="run")
    for note in notes:
        say(f"Note: {note}", console)
    for file in save(figure, options.out.expanduser(), "dynamics"):
        say(str(file), console)


def choose(keys: Sequence[str], logs: Sequence[TrainingLog]) -> str:
    """The first metric that every run has, else the first that any has, else the first."""
    for needed in (all, any):
        for key in keys:
            if needed(key in log.metrics for log in logs):
                return key
    return keys[0]


def _draw_metric(panel: Any, title: str, key: str, logs: list[TrainingLog], smooth: int, notes: list[str]) -> None:
    panel.set_title(title)
    panel.set(xlabel="step", ylabel=key)
    panel.grid(alpha=0.3)
    for index, log in enumerate(logs):
        steps, values = log.series(key)
        if not len(steps):
            notes.append(f"{log.name}: no {key}")
            continue
        raw = {"alpha": 0.3} if smooth > 1 else {"marker": "." if len(steps) < 30 else ""}
        panel.plot(steps, values, color=f"C{index}", **raw)
        if smooth > 1:
            panel.plot(steps, running_mean(values, smooth), color=f"C{index}")


def _draw_funnel(panel: Any, logs: list[TrainingLog], notes: list[str]) -> None:
    panel.set_title("constructions, sum over steps")
    panel.set_xticks(range(len(FUNNEL)), FUNNEL, rotation=30, ha="right")
    panel.grid(alpha=0.3, axis="y")
    funnels = {index: funnel for index, log in enumerate(logs) if (funnel := log.funnel())}
    notes += [f"{log.name}: no construction funnel" for index, log in enumerate(logs) if index not in funnels]
    width = 0.8 / max(1, len(funnels))
    for place, (index, funnel) in enumerate(funnels.items()):
        centres = np.arange(len(FUNNEL)) + (place - (len(funnels) - 1) / 2) * width
        bars = panel.bar(centres, list(funnel.stages.values()), width, color=f"C{index}")
        panel.bar_label(bars, fmt="%.0f", fontsize=7)


def running_mean(values: np.ndarray, steps: int) -> np.ndarray:
    """Mean of each value and those before it, `steps` in all; of fewer at the start."""
    return pd.Series(values).rolling(steps, min_periods=1).mean().to_numpy()
