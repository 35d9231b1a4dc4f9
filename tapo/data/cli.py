"""`tapo data`: from a dataset to the RL data."""

import typer
from rich.console import Console

from tapo.data.options import DecontaminateOptions, FilterOptions, PrepareOptions, StoreOptions
from tapo.options import takes_options
from tapo.terminal import say

app = typer.Typer(help="Datasets for TAPO: prepare, decontaminate, filter by pass rate.", no_args_is_help=True)


@app.command()
@takes_options
def prepare(options: PrepareOptions) -> None:
    """Problems in any common format to verl's parquet; unusable rows are dropped and counted."""
    from tapo.data.prepare import run_prepare

    run_prepare(options, Console())


@app.command()
@takes_options
def decontaminate(options: DecontaminateOptions) -> None:
    """Drop training queries that are evaluation problems, reworded or not, and list them."""
    from tapo.data.decontamination import run_decontaminate

    run_decontaminate(options, Console())


@app.command("filter")
@takes_options
def filter_(options: FilterOptions) -> None:
    """Keep the queries that are neither mastered nor hopeless."""
    from tapo.data.pass_rate import run_filter

    run_filter(options, Console())


@app.command()
@takes_options
def repair(options: StoreOptions) -> None:
    """Move parts that cannot be read aside, so that their queries are sampled again."""
    from tapo.data.rollout_store import RolloutStore

    moved = RolloutStore.open(options.rollouts).repair()
    say(f"{len(moved)} damaged parts", Console())
