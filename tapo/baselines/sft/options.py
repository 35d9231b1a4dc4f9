"""The options of `tapo baseline`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field, model_validator
from typing_extensions import Self

from tapo.data.options import ColumnOptions, CorrectOptions
from tapo.options import AtLeastOne, ConfigError, KeyValues, Needs, Options


class SftDataOptions(ColumnOptions, CorrectOptions):
    """Chats for verl's SFT trainer: each query with a correct response that was constructed or sampled for it."""

    sources: Annotated[tuple[Path, ...], typer.Argument()]
    """Folders of runs (with `dump` or `rollouts` in them), of dumps (`algorithm.tapo.dump_dir`,
    `trainer.rollout_data_dir`), of `tapo cold-start build` or of `tapo rollout`."""
    out: Path
    """Folder of train.parquet and val.parquet."""
    kind: Literal["constructed", "correct"] = "constructed"
    """`constructed`: trajectories that TAPO constructed; `correct`: correct rollouts (rejection sampling)."""
    data: tuple[Path, ...] = ()
    """Parquet files that a run was given: its dumps know no whole prompt."""
    model: str | None = None
    """Folder or name of a run's model: by its chat template the prompts of sampled rollouts are told apart."""
    template: KeyValues = Field(default_factory=dict)
    """Arguments of the chat template, as data.apply_chat_template_kwargs of the run."""
    last_step: AtLeastOne | None = None
    """Of a run, steps up to this one (default: all)."""
    most: AtLeastOne | None = None
    """Chats of a query at most (default: all that differ)."""
    val_share: Annotated[float, Needs("a share in (0, 1)", lambda share: 0 < share < 1)] = 0.02
    """Of the queries, held out with all their chats; at least one."""
    seed: int = 1
    """Of every choice."""

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if self.last_step is not None and not self.data:
            raise ConfigError("last_step", self.last_step, "only a run has steps: needs data too")
        return self


class SftLogOptions(Options):
    """The log of an SFT baseline, as that of an RL run: the steps of the run whose data it learned, then its own."""

    source: Path | None = None
    """Folder of that run, with metrics.jsonl; none where the data comes from no run."""
    last_step: AtLeastOne
    """Steps whose data was learned; where there is no such run, the step that the model is to stand at."""
    data: Path
    """Folder of `tapo baseline sft-data`."""
    sft: Path
    """Folder of the SFT, with metrics.jsonl."""
    validation: Path | None = None
    """metrics.jsonl of the model's validation."""
    out: Path
    """File to write."""
