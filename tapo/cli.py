"""The console script `tapo`: each command is a class of options, and the function that does its work."""

import sys
from importlib import import_module
from typing import Any

import typer
from rich.console import Console

from tapo.baselines.sft.options import SftDataOptions, SftLogOptions
from tapo.cold_start.options import BuildOptions
from tapo.comparison.options import CompareCommand
from tapo.data.options import DecontaminateOptions, FilterOptions, PrepareOptions, RepairOptions
from tapo.doctor.options import DoctorOptions
from tapo.evaluation import options as evaluation
from tapo.generation.engine import EngineFailed
from tapo.generation.options import RolloutOptions
from tapo.inspection.options import InspectOptions
from tapo.options import Options, as_command
from tapo.planning.options import PlanOptions
from tapo.shipped import app as recipes

GROUPS = {
    "data": "Datasets for TAPO: prepare, decontaminate, filter by pass rate.",
    "cold-start": "Corrective trajectories and chats for verl's SFT trainer.",
    "baseline": "SFT baselines: chats from what a run has sampled, and their log.",
    "eval": "Evaluate checkpoints, and report from dumps of verl's validation.",
}

COMMANDS: dict[str, tuple[type[Options], str]] = {
    "data prepare": (PrepareOptions, "tapo.data.prepare:run_prepare"),
    "data decontaminate": (DecontaminateOptions, "tapo.data.decontamination:run_decontaminate"),
    "data filter": (FilterOptions, "tapo.data.pass_rate:run_filter"),
    "data repair": (RepairOptions, "tapo.data.rollout_store:run_repair"),
    "rollout": (RolloutOptions, "tapo.generation.run_rollouts:run_rollouts"),
    "cold-start build": (BuildOptions, "tapo.cold_start.build:run_build"),
    "baseline sft-data": (SftDataOptions, "tapo.baselines.sft.data:run_sft_data"),
    "baseline sft-log": (SftLogOptions, "tapo.baselines.sft.log:run_sft_log"),
    "eval run": (evaluation.RunOptions, "tapo.evaluation.validation:evaluate"),
    "eval report": (evaluation.ReportCommand, "tapo.evaluation.render:report_runs"),
    "eval reflections": (evaluation.ReflectionsCommand, "tapo.evaluation.detector_agreement:print_reflections"),
    "eval constructions": (evaluation.ConstructionsCommand, "tapo.evaluation.splicer_agreement:print_agreement"),
    "doctor": (DoctorOptions, "tapo.doctor.command:run_doctor"),
    "plan": (PlanOptions, "tapo.planning.command:run_plan"),
    "compare": (CompareCommand, "tapo.comparison.command:compare"),
    "plot": (evaluation.PlotCommand, "tapo.evaluation.plots:plot_runs"),
    "summary": (evaluation.SummaryCommand, "tapo.evaluation.render:summarise_runs"),
    "inspect": (InspectOptions, "tapo.inspection.page:run_inspect"),
}
"""What is typed -> the options, and `module:function` of what is given them and a console. Modules are imported when
their command runs, so that help is instant."""


def _app() -> typer.Typer:
    app = typer.Typer(
        help="TAPO for verl: data, rollouts and cold start before a run, evaluation and inspection behind it.",
        no_args_is_help=True,
    )
    groups = {"": app} | {name: typer.Typer(help=text, no_args_is_help=True) for name, text in GROUPS.items()}
    for typed, (options, work) in COMMANDS.items():
        group, _, name = typed.rpartition(" ")
        groups[group].command(name)(as_command(options, _work(work)))
    for name in GROUPS:
        # A callback keeps the name of a group's only command.
        groups[name].callback()(lambda: None)
        app.add_typer(groups[name], name=name)
    app.add_typer(recipes, name="recipe")
    return app


def _work(name: str) -> Any:
    module, _, function = name.partition(":")
    return lambda options: getattr(import_module(module), function)(options, Console())


app = _app()


def main() -> None:
    """The console script: what a user can mend, and what the system or a server refuses, becomes one sentence and exit
    status 1."""
    try:
        app()
    except (ValueError, OSError, EngineFailed) as error:
        print(f"tapo: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
