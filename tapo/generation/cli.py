"""`tapo rollout`."""

from rich.console import Console

from tapo.generation.options import RolloutOptions
from tapo.options import takes_options


@takes_options
def rollout(options: RolloutOptions) -> None:
    """K responses to each query, scored by the run's reward."""
    from tapo.generation.run_rollouts import run_rollouts

    run_rollouts(options, Console())
