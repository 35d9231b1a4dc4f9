"""The options of `tapo inspect`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import model_validator
from typing_extensions import Self

from tapo.core.funnel import REASONS, TRAINED
from tapo.data.options import CorrectOptions
from tapo.options import AtLeastOne, ConfigError

OUTCOMES = (TRAINED, "rejected", "all")


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
    verdict: str | None = None
    """Only those of which the run's check (algorithm.tapo.construction.check) said this: a label, no_objection, or
    objected for any objection."""
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

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if self.outcome not in (None, *OUTCOMES):
            raise ConfigError("outcome", self.outcome, f"allowed are {', '.join(OUTCOMES)}")
        if self.reason not in (None, *REASONS):
            raise ConfigError("reason", self.reason, f"allowed are {', '.join(REASONS)}")
        if self.reason is not None and self.outcome == TRAINED:
            raise ValueError(f"reason = {self.reason!r} cannot work with outcome = 'trained': allowed is rejected")
        self.steps  # noqa: B018  (raises where the text is no range)
        return self

    @property
    def steps(self) -> tuple[int, int] | None:
        """First and last step, both included; None for all."""
        if self.step is None:
            return None
        first, dash, last = self.step.partition("-")
        if first.isdecimal() and (last.isdecimal() if dash else not last) and int(first) <= int(last or first):
            return int(first), int(last or first)
        raise ConfigError("step", self.step, "needs a step such as 7 or a range such as 7-12")

    @property
    def outcomes(self) -> str:
        """One of `OUTCOMES`."""
        return self.outcome or ("rejected" if self.reason else "all" if self.html else TRAINED)
