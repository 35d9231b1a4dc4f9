"""A construction prompt put to an engine, in one request or, where the prefix need not be copied, in two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tapo.core.anchor import find_anchor
from tapo.core.answer import CLOSE_TAG, OPEN_TAG, parse_opening
from tapo.core.attempt import Attempt
from tapo.core.decoding import Decoding, Sample
from tapo.core.form import Form
from tapo.core.funnel import ConstructionError
from tapo.core.tokens import decode, encode_behind, token_boundary, without_end

ANALYSIS_TOKENS = 1024
"""Room for the analysis in front of the reconstruction: a few sentences, in long responses as in short ones."""


def analysis_room(response_length: int) -> int:
    """Tokens for an analysis of a response of so many at most: half as many, up to `ANALYSIS_TOKENS`."""
    return min(response_length // 2, ANALYSIS_TOKENS)


class Answer(NamedTuple):
    """What the actor answered."""

    text: str
    ended: bool = False
    """Whether it ended its turn by itself, and may lack the last tag."""
    whole: bool = False
    """Whether it holds a correction, whatever form was asked for: a function's."""


@dataclass(frozen=True)
class TokenBudget:
    """What a run allows, in tokens.

    Attributes:
        response_length: of a trajectory.
        max_model_len: of a prompt and what is decoded behind it.
        answer: of an answer to a construction prompt, a copied prefix included.
    """

    response_length: int
    max_model_len: int
    answer: int

    @property
    def analysis(self) -> int:
        """Of what stands in front of a reconstruction, where that is asked for by itself, and of a reflection."""
        return max(self.answer - self.response_length, analysis_room(self.response_length))


@dataclass(frozen=True)
class EngineAsk:
    """Asks an engine for a form of construction.

    Attributes:
        prompt_ids: token ids of a prompt given as chat messages, with what begins the assistant's turn.
        may_lack_tag: whether an answer that ended by itself is read without its last tag. Not in a cold start, whose
            chats teach the form.
    """

    form: Form
    decoding: Decoding
    budget: TokenBudget
    prompt_ids: Callable[[list[dict[str, str]]], list[int]]
    sample: Sample
    may_lack_tag: bool = True

    async def __call__(self, attempt: Attempt, messages: list[dict[str, str]]) -> Answer:
        """The answer to a construction prompt; the attempt counts its tokens.

        Raises:
            ConstructionError: there is no room for one, or the passage that it quotes cannot be found.
        """
        prompt = self.prompt_ids(messages)
        room = self._room(len(prompt), len(attempt.candidate.correct.ids), self.budget.answer)
        if not self.form.anchored:
            ids, ended = await self.decoding.run(self.sample, prompt, room, CLOSE_TAG, attempt.usage)
            return self._answer(ids, ended)
        opening = min(room, self.budget.analysis)
        ids, _ = await self.decoding.run(self.sample, prompt, opening, OPEN_TAG, attempt.usage)
        return await self._fill(attempt, prompt, ids)

    async def _fill(self, attempt: Attempt, prompt: list[int], ids: list[int]) -> Answer:
        """The answer whose opening tag the attempt's own tokens follow, up to the quoted passage."""
        tokenizer, wrong = self.decoding.tokenizer, attempt.candidate.wrong
        attempt.answer = decode(tokenizer, ids)
        head, quote = parse_opening(attempt.answer)
        anchor = find_anchor(quote, wrong.text)
        attempt.anchor = anchor.found
        placed = _placed(wrong.ids, wrong.text, anchor.end, tokenizer)
        begun = [*_beginning(ids, attempt.answer, head, tokenizer), *placed]
        attempt.usage.placed += len(placed)
        most = self.budget.analysis if self.form.own else self.budget.answer
        most = min(most, self.budget.response_length - len(placed))
        least = 1 if self.form.own else len(attempt.candidate.correct.ids) - len(placed)
        room = self._room(len(prompt) + len(begun), least, most)
        rest, ended = await self.decoding.run(self.sample, [*prompt, *begun], room, CLOSE_TAG, attempt.usage)
        return self._answer([*begun, *rest], ended)

    def _answer(self, ids: list[int], ended: bool) -> Answer:
        return Answer(decode(self.decoding.tokenizer, ids), ended and self.may_lack_tag)

    def _room(self, prompt: int, least: int, most: int) -> int:
        return room_for_answer(prompt, least, max_tokens=most, max_model_len=self.budget.max_model_len)


def _placed(ids: Sequence[int], text: str, end: int, tokenizer: Any) -> list[int]:
    """The attempt's own ids up to a passage's end, white space behind it included: a reflection begins a line."""
    own = without_end(ids, tokenizer)
    behind = len(text) - len(text[end:].lstrip())
    length, _ = token_boundary(own, text, behind, tokenizer)
    return own[:length]


def _beginning(ids: list[int], text: str, head: str, tokenizer: Any) -> list[int]:
    """The answer's ids up to the end of `head`; where that lies inside a token, the rest of it anew."""
    length, kept = token_boundary(ids, text, len(head), tokenizer)
    rest = head[len(kept) :]
    return ids[:length] + (encode_behind(ids[:length], rest, tokenizer) if rest else [])


def room_for_answer(prompt: int, least: int, *, max_tokens: int, max_model_len: int) -> int:
    """Most tokens that an answer may take behind a prompt of `prompt` tokens, which is never truncated.

    Args:
        least: tokens that an answer needs, the sibling's own length, say; 1 at least.

    Raises:
        ConstructionError: "does_not_fit" if there is not even room for these.
    """
    room = min(max_tokens, max_model_len - prompt)
    if room < max(min(max_tokens, least), 1):
        raise ConstructionError("does_not_fit", f"{room} tokens behind a prompt of {prompt}")
    return room
