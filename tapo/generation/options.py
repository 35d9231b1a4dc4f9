"""Options that every command which samples shares, and the engine that they describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
import yaml

from tapo.generation.engine import Engine

Model = Annotated[str, typer.Option(help="Hugging Face folder or name of the model to be trained.")]
Server = Annotated[
    list[str] | None,
    typer.Option(help="Base URL of an OpenAI-compatible server that serves it, instead of vLLM here; repeatable."),
]
ServedName = Annotated[str | None, typer.Option(help="The servers' name of the model; default: MODEL.")]
EngineOption = Annotated[
    list[str] | None,
    typer.Option("--engine", help="KEY=VALUE of vLLM's engine arguments (tensor_parallel_size=2); repeatable."),
]
TemplateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help="KEY=VALUE for the chat template, as data.apply_chat_template_kwargs of the run; repeatable. `none` for "
        "no argument at all. Default: enable_thinking=false.",
    ),
]
AtOnce = Annotated[int, typer.Option(min=1, help="Queries under way at a time.")]
PartSize = Annotated[int, typer.Option(min=1, help="Queries of a part, which is what a killed run loses.")]
RewardPath = Annotated[
    str,
    typer.Option(
        help="reward.custom_reward_function.path of the run; `verl` for verl's own scoring by data source, "
        "which is what a run without one has."
    ),
]
RewardName = Annotated[str, typer.Option(help="reward.custom_reward_function.name of the run.")]
RewardOption = Annotated[
    list[str] | None, typer.Option("--reward-kwarg", help="KEY=VALUE for the reward function; repeatable.")
]
CorrectKey = Annotated[
    str | None,
    typer.Option(help="Of what the reward returns, the number that says whether a response is right (acc, ...)."),
]


@dataclass(frozen=True)
class EngineOptions:
    """Which engine, of which model."""

    model: str
    servers: Sequence[str] = ()
    served_name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def start(self, tokenizer: Any) -> Engine:
        """The engine; call it inside the event loop that will use it.

        Raises:
            ValueError: engine arguments for servers, or ones that vLLM does not know.
        """
        if self.servers:
            from tapo.generation.servers import ServerEngine

            if self.arguments:
                raise ValueError(f"engine = {dict(self.arguments)} cannot work with server: set it where you serve")
            return ServerEngine(self.servers, self.served_name or self.model, tokenizer)
        from tapo.generation.in_process import InProcessEngine

        return InProcessEngine(self.model, **self.arguments)


def engine_options(
    model: str, server: Sequence[str] | None, served_name: str | None, engine: Sequence[str] | None, max_model_len: int
) -> EngineOptions:
    """The options as the command line gives them; `max_model_len` holds for vLLM here unless it is among them.

    Raises:
        ValueError: a pair without `=`.
    """
    arguments = {} if server else {"max_model_len": max_model_len}
    return EngineOptions(model, server or (), served_name, arguments | key_values("engine", engine))


def key_values(option: str, pairs: Sequence[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` options as a mapping; values as YAML reads them.

    Raises:
        ValueError: a pair without `=`.
    """
    values = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ValueError(f"{option} = {pair!r} cannot work: needs KEY=VALUE")
        values[key] = yaml.safe_load(value)
    return values


def template_kwargs(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Chat-template arguments; without thinking unless asked for (TAPO, inference: no thinking mode).

    Raises:
        ValueError: a pair without `=`, or `none` with others.
    """
    if pairs and list(pairs) == ["none"]:
        return {}
    return {"enable_thinking": False, **key_values("template", pairs)}
