"""The command `tapo inspect`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer()

TERMINAL_LIMIT, PAGE_LIMIT = 3, 5000


@app.command()
def inspect(
    dump: Annotated[Path, typer.Argument(help="The folder that algorithm.tapo.dump_dir named.")],
    step: Annotated[str | None, typer.Option(help="A step such as 7, or a range such as 7-12.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="trained, rejected or all. [default: trained; all with --html]")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only those rejected for this reason.")] = None,
    correct: Annotated[bool, typer.Option(help="Only those with the right answer.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Most trajectories. [default: {TERMINAL_LIMIT}; {PAGE_LIMIT} with --html]"),
    ] = None,
    full: Annotated[bool, typer.Option(help="Print siblings and unused rollouts in full.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page instead of printing.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice among more trajectories than the page's limit.")] = 0,
    threshold: Annotated[float, typer.Option(help="The run's algorithm.tapo.reward_threshold.")] = 0.5,
) -> None:
    """Constructed trajectories in colour, in the terminal or as a page: kept prefix, reflection, correction."""
    from tapo.inspection.constructions import ConstructionFilter, parse_steps

    outcome = outcome or ("rejected" if reason else "all" if html else "trained")
    wanted = ConstructionFilter(parse_steps(step) if step else None, outcome, reason, correct)
    console = Console()
    if html is None:
        from tapo.inspection.trajectories import print_trajectories

        limit = limit or TERMINAL_LIMIT
        print_trajectories(dump, console, wanted=wanted, limit=limit, full=full, reward_threshold=threshold)
    else:
        from tapo.inspection.page import print_report, write_page

        limit = limit or PAGE_LIMIT
        report = write_page(dump, html, wanted=wanted, title=title, limit=limit, seed=seed, reward_threshold=threshold)
        print_report(report, html, console)
