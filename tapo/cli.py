"""The console script `tapo`."""

import sys

import typer

from tapo.cold_start.cli import app as cold_start_app
from tapo.data.cli import app as data_app
from tapo.evaluation import cli as evaluation
from tapo.generation.cli import rollout
from tapo.generation.servers import ServersFailed
from tapo.inspection.cli import inspect
from tapo.shipped import app as recipe_app

app = typer.Typer(
    help="TAPO for verl: data, rollouts and cold start before a run, evaluation and inspection behind it.",
    no_args_is_help=True,
)
app.add_typer(data_app, name="data")
app.command()(rollout)
app.add_typer(cold_start_app, name="cold-start")
app.add_typer(evaluation.app, name="eval")
app.command()(evaluation.plot)
app.command()(evaluation.summary)
app.command()(inspect)
app.add_typer(recipe_app, name="recipe")


@app.callback()
def root() -> None:
    """Subcommands import what they need, so that help is instant."""


def main() -> None:
    """The console script: what a user can mend, and what the system or a server refuses, becomes one sentence and exit
    status 1."""
    try:
        app()
    except (ValueError, OSError, ServersFailed) as error:
        print(f"tapo: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
