"""The command `tapo inspect`."""

from rich.console import Console

from tapo.inspection.options import InspectOptions
from tapo.options import takes_options


@takes_options
def inspect(options: InspectOptions) -> None:
    """Constructed trajectories in colour, in the terminal or as a page: kept prefix, reflection, correction."""
    from tapo.inspection.constructions import ConstructionFilter, parse_steps
    from tapo.inspection.page import print_report, write_page
    from tapo.inspection.trajectories import print_trajectories

    outcome = options.outcome or ("rejected" if options.reason else "all" if options.html else "trained")
    steps = parse_steps(options.step) if options.step else None
    wanted = ConstructionFilter(steps, outcome, options.reason, options.correct)
    console, threshold = Console(), options.reward_threshold
    limit = {} if options.limit is None else {"limit": options.limit}
    if options.html is None:
        print_trajectories(options.dump, console, wanted=wanted, full=options.full, reward_threshold=threshold, **limit)
        return
    report = write_page(
        options.dump,
        options.html,
        wanted=wanted,
        title=options.title,
        seed=options.seed,
        reward_threshold=threshold,
        **limit,
    )
    print_report(report, options.html, console)
