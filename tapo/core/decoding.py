"""Answers decoded up to a text, whatever the engine: by its own stop strings, or piece by piece."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tapo.core.tokens import decode


class Request(NamedTuple):
    """What an engine is asked for.

    Attributes:
        prompt_ids: all of it, what has been answered so far at its end.
        most: tokens of the answer at most, at least one.
        until: text behind which no more is wanted; None asks for the end of the turn.
    """

    prompt_ids: list[int]
    most: int
    until: str | None


Sample = Callable[[Request], Awaitable[Sequence[int]]]
"""The ids that an engine answers with. Where it stops behind a text, that text is among them."""


@dataclass
class Usage:
    """Tokens that a construction takes in the engine."""

    prompt: int = 0
    """Of the prompts of all requests; most of a later one are those of the one before, and in the prefix cache."""
    decoded: int = 0
    placed: int = 0
    """The wrong response's own, put into the answer in place of being decoded."""


class Decoded(NamedTuple):
    """What was decoded behind a prompt.

    Attributes:
        ids: the tokens; a few may follow the text behind which no more was wanted.
        ended: whether the policy ended its turn by itself.
    """

    ids: list[int]
    ended: bool


@dataclass(frozen=True)
class Decoding:
    """How an engine decodes.

    Attributes:
        tokenizer: Hugging Face tokenizer.
        ends: whether tokens end as the policy ends a turn.
        piece: most tokens of a request; None asks for all of them in one.
    """

    tokenizer: Any
    ends: Callable[[Sequence[int]], bool]
    piece: int | None = None

    async def run(
        self, sample: Sample, prompt_ids: Sequence[int], most: int, until: str | None, usage: Usage
    ) -> Decoded:
        """Decode until `until` stands in the text, the turn ends, or `most` tokens are there.

        A piece begins where the last one ended: what stands in front of it is in the engine's prefix cache.
        """
        ids: list[int] = []
        while True:
            wanted = min(self.piece or most, most - len(ids))
            new = await sample(Request([*prompt_ids, *ids], wanted, until))
            usage.prompt += len(prompt_ids) + len(ids)
            usage.decoded += len(new)
            ids += new
            if len(new) < wanted or self.ends(ids) or len(ids) >= most:
                return Decoded(ids, self.ends(ids))
            if until is not None and until in decode(self.tokenizer, ids):
                return Decoded(ids, False)
