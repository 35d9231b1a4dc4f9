"""Who answers a construction prompt: the model to be trained, or a function in its place."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tapo.core.reconstruction import decode
from tapo.files.fingerprint import fingerprint_of_file
from tapo.generation.chat import prompt_ids
from tapo.generation.engine import Engine, Sampling


@dataclass(frozen=True)
class Request:
    """One construction that is asked for.

    Attributes:
        messages: the construction prompt as a chat.
        query, wrong, correct: what the prompt was rendered from.
        attempt: 0 for the query's first one.
    """

    messages: list[dict[str, str]]
    query: str
    wrong: str
    correct: str
    seed: int
    attempt: int


class RequestDoesNotFit(Exception):
    """The prompt leaves no room for an answer."""


class Actor(Protocol):
    """Answers construction prompts."""

    repeats: bool
    """Whether asking the same once more can bring another answer."""

    async def answer(self, request: Request) -> str:
        """The tagged answer, as text."""


class EngineActor:
    """The model itself, by an engine.

    Args:
        max_model_len: tokens of prompt and answer together; a longer prompt is never truncated.
    """

    repeats = True

    def __init__(
        self,
        engine: Engine,
        tokenizer: Any,
        sampling: Sampling,
        *,
        max_model_len: int,
        template_kwargs: Mapping[str, Any],
    ):
        self._engine, self._tokenizer, self._sampling = engine, tokenizer, sampling
        self._max_model_len, self._template_kwargs = max_model_len, template_kwargs

    async def answer(self, request: Request) -> str:
        """See `Actor`.

        Raises:
            RequestDoesNotFit: prompt and answer budget exceed `max_model_len`.
        """
        ids = prompt_ids(request.messages, self._tokenizer, self._template_kwargs)
        if len(ids) + self._sampling.max_tokens > self._max_model_len:
            raise RequestDoesNotFit
        [sample] = await self._engine.sample(ids, self._sampling, n=1, seed=request.seed)
        return decode(self._tokenizer, sample.ids)


class FunctionActor:
    """A function `(query, wrong, correct, seed) -> answer` from a Python file: a teacher for a model that cannot yet
    construct, or a service of one's own.

    Args:
        spec: `FILE.py:NAME`.

    Raises:
        ValueError: no such file or function.
    """

    repeats = False

    def __init__(self, spec: str):
        from verl.utils.import_utils import load_extern_object

        path, _, name = spec.rpartition(":")
        if not Path(path).is_file():
            raise ValueError(f"answers = {spec!r} cannot work: needs FILE.py:NAME of a file that exists")
        try:
            self._function = load_extern_object(path, name)
        except AttributeError as error:
            raise ValueError(f"answers = {spec!r} cannot work: {error}") from error
        self.fingerprint = f"{Path(path).name}:{name} {fingerprint_of_file(path)}"

    async def answer(self, request: Request) -> str:
        """See `Actor`."""
        return await asyncio.to_thread(
            self._function, query=request.query, wrong=request.wrong, correct=request.correct, seed=request.seed
        )
