"""Who answers a construction prompt: the model to be trained, or a function in its place."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tapo.chat import prompt_ids
from tapo.core.construct import Answer, Candidate, room_for_answer
from tapo.core.reconstruction import decode
from tapo.functions import fingerprint_of_function, function_given
from tapo.generation.engine import Engine, Sampling


class Actor(Protocol):
    """Answers construction prompts."""

    repeats: ClassVar[bool]
    """Whether asking the same once more can bring another answer."""

    async def answer(self, messages: list[dict[str, str]], candidate: Candidate, seed: int) -> Answer:
        """The tagged answer to a prompt, given as a chat with the candidate that it was rendered from.

        Raises:
            ConstructionError: the prompt leaves no room for one.
        """


@dataclass(frozen=True)
class EngineActor:
    """The model itself, by an engine."""

    repeats: ClassVar[bool] = True

    engine: Engine
    tokenizer: Any
    sampling: Sampling
    max_model_len: int
    """Tokens of prompt and answer together; a longer prompt is never truncated."""
    template_kwargs: Mapping[str, Any]

    async def answer(self, messages: list[dict[str, str]], candidate: Candidate, seed: int) -> Answer:
        """See `Actor`."""
        ids = prompt_ids(messages, self.tokenizer, self.template_kwargs)
        room = room_for_answer(
            len(ids), len(candidate.correct.ids), max_tokens=self.sampling.max_tokens, max_model_len=self.max_model_len
        )
        sampling = self.sampling.model_copy(update={"max_tokens": room})
        [sample] = await self.engine.sample(ids, sampling, n=1, seed=seed)
        return Answer(decode(self.tokenizer, sample.ids), len(sample.ids))


class FunctionActor:
    """A function `(query, wrong, correct, seed) -> answer` from a Python file: a teacher for a model that cannot yet
    construct, or a service of one's own.

    Args:
        spec: `FILE.py:NAME`.

    Raises:
        ConfigError: no such file or function.
    """

    repeats: ClassVar[bool] = False

    def __init__(self, spec: str):
        self._function = function_given(spec, key="answers")
        self.fingerprint = fingerprint_of_function(spec)

    async def answer(self, messages: list[dict[str, str]], candidate: Candidate, seed: int) -> Answer:
        """See `Actor`."""
        text = await asyncio.to_thread(
            self._function,
            query=candidate.prompt[-1]["content"],
            wrong=candidate.wrong.text,
            correct=candidate.correct.text,
            seed=seed,
        )
        return Answer(text, 0)
