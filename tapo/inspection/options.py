"""The options of `tapo inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from tapo.data.options import CorrectOptions
from tapo.options import AtLeastOne


class InspectOptions(CorrectOptions):
    """Constructed trajectories in colour, in the terminal or as a page: kept prefix, reflection, correction."""

    dump: Annotated[Path, typer.Argument()]
    """The folder that algorithm.tapo.dump_dir named, or that `tapo cold-start build` wrote."""
    step: str | None = None
    """A step such as 7, or a range such as 7-12."""
    outcome: str | None = None
    """trained, rejected or all; default: trained, all with --html, rejected with --reason."""
    reason: str | None = None
    """Only those rejected for this reason."""
    correct: bool = False
    """Only those with the correct answer."""
    limit: AtLeastOne | None = None
    """Most trajectories; default: 3, 5000 with --html."""
    full: bool = False
    """Print siblings and unused rollouts in full."""
    html: Path | None = None
    """Write one self-contained page instead of printing."""
    title: str | None = None
    """Title of the page."""
    seed: int = 0
    """Of the choice among more trajectories than the page's limit."""
