"""The options of `tapo cold-start build`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import model_validator
from typing_extensions import Self

from tapo.config import CheckOptions, FormOptions, SpliceOptions
from tapo.core.form import Form
from tapo.core.prompts import check_template
from tapo.data.options import CorrectOptions
from tapo.generation.engine import Sampling
from tapo.generation.options import EngineOptions
from tapo.generation.scoring import RewardOptions
from tapo.options import AtLeastOne, Needs, Options, text_given


class Limits(SpliceOptions, CorrectOptions):
    """Who is eligible, how often to try, and how long a trajectory may be."""

    panel = "Trajectories"

    n_pos: AtLeastOne = 1
    """Least correct responses of a query."""
    n_neg: AtLeastOne = 1
    """Least wrong responses of a query."""
    attempts: AtLeastOne = 4
    """Tries a query; the first good one wins."""
    response_length: Annotated[AtLeastOne, typer.Option("--max-response-tokens")] = 8192
    """Most tokens of a trajectory."""
    require_reflection: bool = True
    """Drop trajectories in which no reflection is recognised."""


class Recipe(Options):
    """How many chats of what kind."""

    panel = "Chats"

    sft: int = 30_000
    """Query -> response examples."""
    ift: int = 15_000
    """Construction prompt -> tagged answer examples."""
    plain_share: Annotated[float, Needs("a share in [0, 1]", lambda share: 0 <= share <= 1)] = 0.5
    """Of the SFT examples, plain correct responses; the paper does not say how many."""
    val_share: Annotated[float, Needs("a share in [0, 1)", lambda share: 0 <= share < 1)] = 0.02
    """Of the queries, held out with all their chats."""
    seed: int = 1
    """Of every choice."""

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.sft < 0 or self.ift < 0 or self.sft + self.ift == 0:
            raise ValueError(f"sft = {self.sft}, ift = {self.ift} cannot work: need integers >= 0, one of them > 0")
        return self

    @property
    def wanted(self) -> dict[str, int]:
        """Chats by kind."""
        plain = round(self.sft * self.plain_share)
        return {"reflective": self.sft - plain, "plain": plain, "construction": self.ift}


class TaughtForm(FormOptions):
    """What the chats teach to write, which is what the run will ask for."""

    panel = "Form"


class BuildOptions(TaughtForm, Recipe, Limits, CheckOptions, Sampling, EngineOptions, RewardOptions):
    """Trajectories from wrong rollouts, then SFT and IFT chats with a datasheet."""

    rollouts: Annotated[tuple[Path, ...], typer.Argument()]
    """Folders of scored rollouts (`tapo rollout`)."""
    out: Path
    """Folder of everything written; started again, it is gone on with."""
    max_tokens: AtLeastOne = 12_288
    """Of an answer to the construction prompt."""
    max_model_len: int = 32_768
    """Of construction prompt and answer together."""
    prompt_file: Path | None = None
    """As algorithm.tapo.construction.prompt_file."""
    own_prompt_file: Path | None = None
    """As algorithm.tapo.construction.own_prompt_file."""
    answers: str | None = None
    """FILE.py:FUNCTION that answers the construction prompt instead of the model."""

    def prompts(self) -> dict[Form, str]:
        """The construction prompt of each form that is taught; the first is the one that is asked for.

        Raises:
            ConfigError: a file cannot be read or lacks a placeholder.
        """
        given = {}
        for form in self.forms:
            key, file = ("own_prompt", self.own_prompt_file) if form.own else ("prompt", self.prompt_file)
            given[form] = text_given(None, file, check_template, key=key) or form.prompt
        return given
