"""The options of `tapo doctor`."""

from pathlib import Path

from tapo.options import AtLeastOne, Share
from tapo.planning.options import PlanOptions


class DoctorOptions(PlanOptions):
    """What is wrong with a run, before it costs anything: versions, the plugin here and on every node of a Ray cluster,
    refusals and warnings of the composed run, memory, the reward on known answers, prompts that are too long, and
    whether a model can construct. One line a finding, and what to do about it. Ends with status 1 where there is a
    fault."""

    dry: bool = False
    """Look at the launch line alone: at no data, no cluster and no model."""
    prompts: AtLeastOne = 1000
    """Prompts of the training data whose length is looked at."""
    model: str | None = None
    """Let this checkpoint construct, with the engine that `tapo rollout` takes."""
    queries: AtLeastOne = 64
    """Queries that it constructs for."""
    least_valid: Share = 0.3
    """Share of valid constructions below which a run is not worth starting."""
    work: Path | None = None
    """Where rollouts and constructions of --model are kept; a temporary folder without."""
