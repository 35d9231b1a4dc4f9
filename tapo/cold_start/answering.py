"""Who answers a construction prompt: the model to be trained, or a function in its place."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tapo.chat import prompt_ids
from tapo.core.asking import Answer, EngineAsk, TokenBudget
from tapo.core.attempt import Attempt
from tapo.core.decoding import Decoding, Request, Sample
from tapo.core.form import PAPER_FORM, Form
from tapo.core.tokens import turn_end_ids
from tapo.functions import fingerprint_of_function, function_given
from tapo.generation.engine import Engine, Sampling, derived_seed

PIECE_TOKENS = 128
"""Of a request where an answer is wanted up to a text: engines outside of a run are given no stop strings."""


class Actor(Protocol):
    """Answers construction prompts."""

    repeats: ClassVar[bool]
    """Whether asking the same once more can bring another answer."""

    async def ask(self, attempt: Attempt, messages: list[dict[str, str]], seed: int) -> Answer:
        """The tagged answer to a prompt, given as a chat, for the candidate that it was rendered from.

        Raises:
            ConstructionError: the prompt leaves no room for one, or the answer cannot be used.
        """

    async def go_on(self, attempt: Attempt, seed: int) -> Sequence[int]:
        """The policy's own correction behind the spliced opening."""


@dataclass(frozen=True)
class EngineActor:
    """The model itself, by an engine."""

    repeats: ClassVar[bool] = True

    engine: Engine
    tokenizer: Any
    sampling: Sampling
    budget: TokenBudget
    template_kwargs: Mapping[str, Any]
    form: Form = PAPER_FORM

    async def ask(self, attempt: Attempt, messages: list[dict[str, str]], seed: int) -> Answer:
        """See `Actor`."""
        ask = EngineAsk(
            self.form, self._decoding, self.budget, self._prompt_ids, self._sampler(seed), may_lack_tag=False
        )
        return await ask(attempt, messages)

    async def go_on(self, attempt: Attempt, seed: int) -> Sequence[int]:
        """See `Actor`."""
        assert attempt.spliced is not None
        begun = [*self._prompt_ids(list(attempt.candidate.prompt)), *attempt.spliced.ids]
        most = self.budget.response_length - len(attempt.spliced.ids)
        sample = self._sampler(derived_seed(seed, "correction"))
        return (await self._decoding.run(sample, begun, most, None, attempt.usage)).ids

    def _prompt_ids(self, messages: list[Any]) -> list[int]:
        return prompt_ids(messages, self.tokenizer, self.template_kwargs)

    @property
    def _decoding(self) -> Decoding:
        ends = turn_end_ids(self.tokenizer)
        piece = PIECE_TOKENS if self.form.anchored else None
        return Decoding(self.tokenizer, lambda ids: bool(ids) and ids[-1] in ends, piece)

    def _sampler(self, seed: int) -> Sample:
        """Draws each further request of an answer by a seed of its own."""
        numbers = itertools.count()

        async def sample(request: Request) -> Sequence[int]:
            number = next(numbers)
            sampling = self.sampling.model_copy(update={"max_tokens": request.most})
            own_seed = derived_seed(seed, number) if number else seed
            [drawn] = await self.engine.sample(request.prompt_ids, sampling, n=1, seed=own_seed)
            return drawn.ids

        return sample


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

    async def ask(self, attempt: Attempt, messages: list[dict[str, str]], seed: int) -> Answer:
        """See `Actor`; its answer is whole, whatever is taught."""
        candidate = attempt.candidate
        text = await asyncio.to_thread(
            self._function,
            query=candidate.prompt[-1]["content"],
            wrong=candidate.wrong.text,
            correct=candidate.correct.text,
            seed=seed,
        )
        return Answer(text, whole=True)

    async def go_on(self, attempt: Attempt, seed: int) -> Sequence[int]:
        """Never asked for: see `ask`."""
        raise AssertionError("a function's answer holds its correction")
