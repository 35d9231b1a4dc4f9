"""`tapo cold-start`: from scored rollouts to the data of the cold start."""

import typer
from rich.console import Console

from tapo.cold_start.options import BuildOptions
from tapo.options import takes_options

app = typer.Typer(help="Corrective trajectories and chats for verl's SFT trainer.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keeps `build` a subcommand."""


@app.command()
@takes_options
def build(options: BuildOptions) -> None:
    """Trajectories from wrong rollouts, then SFT and IFT chats with a datasheet."""
    from tapo.cold_start.build import run_build

    run_build(options, Console())
