"""The options of `tapo rollout`, and those that every command which samples shares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from tapo.data.options import ColumnOptions
from tapo.generation.engine import Engine, InProcessEngine, Sampling
from tapo.generation.scoring import RewardOptions
from tapo.generation.servers import ServerEngine
from tapo.options import AtLeastOne, KeyValues, Options, key_values


def template_kwargs(given: Any) -> Any:
    """Chat-template arguments; without thinking unless asked for (TAPO, inference: no thinking mode). ConfigError for a
    pair without `=`, or `none` with others."""
    if isinstance(given, Mapping):
        return given
    return {} if list(given) == ["none"] else {"enable_thinking": False} | key_values(given)


class EngineOptions(Options):
    """Which engine, of which model, and how much it is asked at a time."""

    panel = "Engine"

    model: str
    """Hugging Face folder or name of the model to be trained."""
    server: tuple[str, ...] = ()
    """Base URL of an OpenAI-compatible server that serves it, instead of vLLM here; repeatable."""
    served_name: str | None = None
    """The servers' name of the model; default: MODEL."""
    engine: KeyValues = Field(default_factory=dict)
    """KEY=VALUE of vLLM's engine arguments (tensor_parallel_size=2); repeatable."""
    template: Annotated[dict[str, Any], BeforeValidator(template_kwargs)] = Field({"enable_thinking": False})
    """KEY=VALUE for the chat template, as data.apply_chat_template_kwargs of the run; repeatable. `none` for no
    argument at all. Default: enable_thinking=false."""
    at_once: AtLeastOne = 256
    """Queries under way at a time."""
    part_size: AtLeastOne = 256
    """Queries of a part, which is what a killed run loses."""

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.server and self.engine:
            raise ValueError(f"engine = {self.engine} cannot work with server: set it where you serve")
        return self

    def start(self, tokenizer: Any, max_model_len: int) -> Engine:
        """The engine; call it inside the event loop that will use it. `max_model_len` holds for vLLM here unless it is
        among the engine's arguments."""
        if self.server:
            return ServerEngine(self.server, self.served_name or self.model, tokenizer)
        return InProcessEngine(self.model, **{"max_model_len": max_model_len} | self.engine)


class RolloutOptions(Sampling, EngineOptions, RewardOptions, ColumnOptions):
    """K responses to each query, scored by the run's reward."""

    data: Annotated[tuple[Path, ...], typer.Argument()]
    """verl parquet files of queries, taken as they are."""
    out: Path
    """Folder of scored rollouts; started again, it is gone on with."""
    n: AtLeastOne = 8
    """Responses a query."""
    max_prompt_tokens: AtLeastOne = 1024
    """Longer prompts are left out, and counted."""
    seed: int = 1
    """Of all sampling."""
    limit: AtLeastOne | None = None
    """The first so many queries alone."""
    keep_going: bool = False
    """Go on where none of the first 64 queries is ever solved."""
