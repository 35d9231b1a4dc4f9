"""The options of `tapo compare`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import model_validator
from typing_extensions import Self

from tapo.evaluation.options import EvaluationOptions
from tapo.options import ConfigError


class CompareCommand(EvaluationOptions):
    """Run what a plan states, run by run and seed by seed, and report; started again it goes on."""

    plan: Annotated[Path, typer.Argument(metavar="PLAN.yaml")]
    """What is compared, how it is run, and what would count as a result."""
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False
    """Print the commands and stop."""
    report_only: Annotated[bool, typer.Option("--report-only")] = False
    """Start nothing, report what is complete."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.dry_run and self.report_only:
            raise ConfigError("dry_run", True, "needs to stand alone: --report-only starts nothing already")
        return self
