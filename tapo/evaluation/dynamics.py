"""Training dynamics: the six panels of the paper's figure and the construction funnel, runs beside each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from tapo.core.funnel import FUNNEL
from tapo.evaluation.options import PlotCommand
from tapo.evaluation.plots import new_figure, save
from tapo.evaluation.training_logs import TrainingLog, read_training_logs
from tapo.terminal import say

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
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - steps, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
