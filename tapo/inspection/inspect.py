"""`tapo inspect`: constructed trajectories in the terminal, or as a page."""

from rich.console import Console

from tapo.inspection.options import InspectOptions
from tapo.inspection.page import print_report, write_page
from tapo.inspection.trajectories import print_trajectories


def run_inspect(options: InspectOptions, console: Console) -> None:
    """Show what the options ask for."""
    if options.html is None:
        print_trajectories(options, console)
    else:
        print_report(write_page(options, options.html), options.html, console)
