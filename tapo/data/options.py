"""The options of `tapo data`, and those that other commands share with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BeforeValidator, model_validator
from typing_extensions import Self

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.data.text import BOXED_INSTRUCTION, instruction_of
from tapo.options import AtLeastOne, AtLeastZero, ConfigError, Needs, Options


class OverlapOptions(Options):
    """When a training query is an evaluation problem.

    Phrases that any two contest problems may share ("the number of ordered pairs of positive integers") are about as
    long as an n-gram, so that a shared phrase costs a problem one or two of them. A copy with a reworded sentence or a
    changed number keeps more than half of its n-grams, a problem of the same kind a few.
    """

    ngram: Annotated[int, Needs("a number of tokens >= 1", lambda tokens: tokens >= 1)] = 8
    """Tokens of an n-gram."""
    overlap: Annotated[
        float, Needs("a share in (0, 1]", lambda share: 0 < share <= 1), typer.Option("--overlap", "--threshold")
    ] = 0.5
    """Least share of an evaluation problem's n-grams that counts as a match."""


class ColumnOptions(Options):
    """Columns that a run may name otherwise."""

    prompt_key: str = "prompt"
    """data.prompt_key of the run."""
    reward_fn_key: str = "data_source"
    """data.reward_fn_key of the run."""


class CorrectOptions(Options):
    """What a correct response is."""

    reward_threshold: Annotated[float, typer.Option("--reward-threshold", "--threshold")] = REWARD_THRESHOLD
    """A response is correct iff its score is greater."""


@dataclass(frozen=True)
class KnownDataset:
    """A dataset that the paper trains or evaluates on, as it is on the Hugging Face hub: its columns are `problem` and
    `answer`, its split there is `train`."""

    hub_id: str | None
    """None where the user has to name a source."""
    split: str | None = "test"
    """What `extra_info.split` says; None where it is the split that is loaded."""


KNOWN_DATASETS = {
    "deepscaler": KnownDataset("agentica-org/DeepScaleR-Preview-Dataset", split="train"),
    "aime2024": KnownDataset("HuggingFaceH4/aime_2024"),
    "aime2025": KnownDataset("MathArena/aime_2025"),
    "hmmt_feb_2025": KnownDataset("MathArena/hmmt_feb_2025"),
    "custom": KnownDataset(None, split=None),
}
"""By the name that becomes `data_source`."""


class PrepareOptions(OverlapOptions):
    """Problems in any common format to verl's parquet; unusable rows are dropped and counted."""

    name: Annotated[str, typer.Argument()]
    """deepscaler, aime2024, aime2025, hmmt_feb_2025 or custom."""
    out: Path
    """The parquet file to write."""
    source: str | None = None
    """File, dataset folder or hub id in place of the known one."""
    split: str = "train"
    """Split to load; of a custom dataset also its name."""
    subset: str | None = None
    """Configuration of a folder or hub dataset."""
    question_column: str = "problem"
    """The question."""
    answer_column: str = "answer"
    """The ground truth."""
    index_column: str | None = None
    """Your own ids; else a hash of the question."""
    data_source: str | None = None
    """Name in the data_source column; default: NAME."""
    limit: AtLeastOne | None = None
    """Most problems to write."""
    check_answers: bool = False
    """Drop answers that math-verify cannot read."""
    against: tuple[Path, ...] = ()
    """Drop problems of this parquet; repeatable."""
    instruction: Annotated[str, BeforeValidator(instruction_of)] = BOXED_INSTRUCTION
    """Text on a line of its own behind every question; `none` for no such line."""
    show_dropped: AtLeastZero = 0
    """Dropped rows to print."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        name = values.get("name")
        if name not in KNOWN_DATASETS:
            raise ValueError(f"name = {name!r} cannot work: allowed are {', '.join(KNOWN_DATASETS)}")
        values = {"source": KNOWN_DATASETS[name].hub_id, "data_source": name} | values
        if not values["source"]:
            allowed = "a custom dataset needs a file, a dataset folder or a hub id"
            raise ConfigError("--source", values["source"], allowed)
        return values

    @property
    def split_name(self) -> str:
        """For `extra_info.split`: a known dataset's part in a run, whatever the hub calls its only split."""
        return KNOWN_DATASETS[self.name].split or self.split


class DecontaminateOptions(OverlapOptions):
    """Drop training queries that are evaluation problems, reworded or not, and list them."""

    train: Annotated[Path, typer.Argument()]
    """verl parquet file."""
    against: tuple[Path, ...]
    """Evaluation problems in verl parquet; repeatable."""
    out: Path
    """The parquet file to write."""
    report: Path | None = None
    """Dropped queries; default: OUT.contaminated.jsonl."""


class StoreOptions(Options):
    """Which rollouts."""

    rollouts: Annotated[Path, typer.Argument()]
    """Folder of scored rollouts."""


class RepairOptions(StoreOptions):
    """Move parts that cannot be read aside, so that their queries are sampled again."""


class Band(Options):
    """Pass rates that are kept, both ends included."""

    low: Annotated[float, Needs("a share in [0, 1]", lambda share: 0 <= share <= 1)] = 0.125
    """Least pass rate that is kept (paper: 12.5 %)."""
    high: float = 0.875
    """Greatest pass rate that is kept (paper: 87.5 %)."""

    @model_validator(mode="after")
    def _check_high(self) -> Self:
        if not self.low <= self.high <= 1:
            raise ConfigError("high", self.high, f"needs a share in [low, 1], low being {self.low}")
        return self


class FilterOptions(StoreOptions, Band, CorrectOptions, ColumnOptions):
    """Keep the queries that are neither mastered nor hopeless."""

    data: tuple[Path, ...]
    """The verl parquet file that was sampled from; repeatable."""
    out: Path
    """The parquet file to write."""
    allow_missing: bool = False
    """Leave out queries without rollouts."""
