"""`tapo eval`, `tapo summary` and `tapo plot`."""

import typer
from rich.console import Console

from tapo.evaluation.options import (
    ConstructionsCommand,
    PlotCommand,
    ReflectionsCommand,
    ReportCommand,
    RunOptions,
    SummaryCommand,
)
from tapo.options import takes_options

app = typer.Typer(help="Evaluate checkpoints, and report from dumps of verl's validation.", no_args_is_help=True)


@app.command()
@takes_options
def run(options: RunOptions) -> None:
    """Sample and score a checkpoint on benchmarks through verl's own validation."""
    from tapo.evaluation.validation import evaluate

    evaluate(options, Console())


@app.command()
@takes_options
def report(options: ReportCommand) -> None:
    """Pass@k, accuracy, majority vote, DSR, ERR and more with 95 % intervals; each run against the first."""
    from tapo.evaluation.render import report_runs

    report_runs(options, Console())


@app.command()
@takes_options
def reflections(options: ReflectionsCommand) -> None:
    """What the reflection detector matched on a random sample, and its agreement with hand-labelled examples."""
    from tapo.evaluation.detector_samples import print_reflections

    print_reflections(options, Console())


@app.command()
@takes_options
def constructions(options: ConstructionsCommand) -> None:
    """How far the splicer agrees with hand-labelled constructions; held-out ones apart."""
    from tapo.evaluation.splicer_agreement import print_agreement

    print_agreement(options, Console())


@takes_options
def summary(options: SummaryCommand) -> None:
    """Held-out accuracy before and after, runs beside each other, and the construction funnel."""
    from tapo.evaluation.render import summarise_runs

    summarise_runs(options, Console())


@takes_options
def plot(options: PlotCommand) -> None:
    """Training dynamics: the paper's six panels and the construction funnel, runs beside each other."""
    from tapo.evaluation.dynamics import plot_runs

    plot_runs(options, Console())
