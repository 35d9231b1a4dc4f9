"""Who answers a construction prompt: the model to be trained, or a function in its place."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tapo.chat import prompt_ids
from tapo.core.construct import Answer, Candidate, room_for_answer
from tapo.core.reconstruction import decode
from tapo.files.fingerprint import fingerprint_of_file
from tapo.generation.engine import Engine, Sampling


@dataclass(frozen=True)
class Request:
    """One construction that is asked for: the prompt as a chat, what it was rendered from, and a seed."""

    messages: list[dict[str, str]]
    candidate: Candidate
    seed: int


class Actor(Protocol):
    """Answers construction prompts."""

    repeats: bool
    """Whether asking the same once more can bring another answer."""

    async def answer(self, request: Request) -> Answer:
        """The tagged answer.

        Raises:
            ConstructionError: the prompt leaves no room for one.
        """


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

    async def answer(self, request: Request) -> Answer:
        """See `Actor`."""
        ids = prompt_ids(request.messages, self._tokenizer, self._template_kwargs)
        room = room_for_answer(
            len(ids),
            len(request.candidate.correct.ids),
            max_tokens=self._sampling.max_tokens,
            max_model_len=self._max_model_len,
        )
        [sample] = await self._engine.sample(
            ids, self._sampling.model_copy(update={"max_tokens": room}), n=1, seed=request.seed
        )
        return Answer(decode(self._tokenizer, sample.ids), len(sample.ids))


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

    async def answer(self, request: Request) -> Answer:
        """See `Actor`."""
        candidate = request.candidate
        text = await asyncio.to_thread(
            self._function,
            query=candidate.prompt[-1]["content"],
            wrong=candidate.wrong.text,
            correct=candidate.correct.text,
            seed=request.seed,
        )
        return Answer(text, 0)
