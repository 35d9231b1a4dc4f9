"""`tapo inspect`: constructed trajectories in the terminal, or as a page."""

from typing import Any

from rich.console import Console

from tapo.inspection.constructions import ConstructionFilter, parse_steps
from tapo.inspection.options import InspectOptions
from tapo.inspection.page import print_report, write_page
from tapo.inspection.trajectories import print_trajectories


def run_inspect(options: InspectOptions, console: Console) -> None:
    """Show what the options ask for."""
    outcome = options.outcome or ("rejected" if options.reason else "all" if options.html else "trained")
    steps = parse_steps(options.step) if options.step else None
    wanted = ConstructionFilter(steps, outcome, options.reason, options.correct)
    chosen: dict[str, Any] = {"wanted": wanted, "reward_threshold": options.reward_threshold}
    if options.limit is not None:
        chosen["limit"] = options.limit
    if options.html is None:
        print_trajectories(options.dump, console, full=options.full, **chosen)
    else:
        report = write_page(options.dump, options.html, title=options.title, seed=options.seed, **chosen)
        print_report(report, options.html, console)
