"""One construction: ask the actor, parse its answer, splice it, score the result (TAPO, section 3.3).

RL and the cold start both come this way, each with its own engine and its own reward.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tapo.core.answer import parse_construction
from tapo.core.funnel import TRAINED, ConstructionError
from tapo.core.objections import objects
from tapo.core.prompts import construction_messages
from tapo.core.reconstruction import Spliced, splice
from tapo.core.tokens import turn_end


@dataclass(frozen=True)
class Response:
    """One scored response to a query; `number` tells it from its siblings."""

    number: int
    ids: Sequence[int]
    text: str
    reward: float


@dataclass(frozen=True)
class Candidate:
    """A wrong response to a query, given as chat messages, and the correct sibling that guides its correction."""

    prompt: Sequence[Mapping[str, Any]]
    wrong: Response
    correct: Response


class Answer(NamedTuple):
    """What the actor answered, and the tokens that it took."""

    text: str
    tokens: int
    ended: bool = False
    """Whether it ended its turn by itself, and may lack the last tag. Not said in a cold start, whose chats teach the
    form that is asked for."""


class Verdict(NamedTuple):
    """What the reward says of a trajectory."""

    reward: float
    is_correct: bool


Ask = Callable[[list[dict[str, str]]], Awaitable[Answer]]
"""Puts a construction prompt, as chat messages, to the actor."""
ScoreSpliced = Callable[[Spliced], Awaitable[Verdict]]
"""Scores a trajectory as a response to the query."""
CheckSpliced = Callable[["Attempt"], Awaitable[str]]
"""Says of a scored attempt what is to be objected to its text: a label, or "" for nothing (`tapo.core.check`)."""


@dataclass
class Attempt:
    """One candidate on its way: filled in as far as it gets."""

    candidate: Candidate
    answer: str = ""
    answer_tokens: int = 0
    thought: bool = False
    """Whether thinking stood in front of the answer."""
    closed: bool = True
    """Whether the answer had its last tag."""
    spliced: Spliced | None = None
    reward: float | None = None
    is_correct: bool | None = None
    """None where it was not scored."""
    check: str | None = None
    """What the check said of its text; None where it was not asked."""
    reached: list[str] = field(default_factory=lambda: ["attempted"])
    """The stages of `FUNNEL` that it has reached."""
    outcome: str = "error"
    """`TRAINED`, or the reason for which it is dropped."""

    def keep(self) -> None:
        """Nothing has gone wrong: it is trained."""
        self.outcome = TRAINED
        self.reached.append(TRAINED)


@dataclass(frozen=True)
class Constructor:
    """How a wrong response becomes a micro-reflective trajectory.

    Attributes:
        tokenizer: Hugging Face tokenizer.
        template: the construction prompt.
        splicing: options of `splice`, `max_length` among them.
        keep_failed: whether a trajectory that is not correct is kept, as a negative.
        check: asked of every scored trajectory, where there is one.
        drop_objected: whether a trajectory that the check objects to is dropped.
    """

    tokenizer: Any
    template: str
    splicing: Mapping[str, Any]
    keep_failed: bool
    check: CheckSpliced | None = None
    drop_objected: bool = False

    async def carry(self, attempt: Attempt, ask: Ask, score: ScoreSpliced) -> None:
        """Ask, parse, splice, score and judge; the attempt says how far it got when this raises.

        Raises:
            ConstructionError: the candidate must be dropped.
        """
        attempt.answer, attempt.answer_tokens, ended = await ask(self._messages(attempt.candidate))
        construction = parse_construction(attempt.answer, ended=ended)
        attempt.thought, attempt.closed = construction.thought, construction.closed
        attempt.reached.append("parsed")
        attempt.spliced = self._splice(attempt.candidate, construction.reconstruction)
        attempt.reached.append("spliced")
        attempt.reward, attempt.is_correct = await score(attempt.spliced)
        await self.judge(attempt)

    async def judge(self, attempt: Attempt) -> None:
        """Ask the check, where there is one, of a scored attempt, and drop what is not to be trained.

        Raises:
            ConstructionError: it is not correct, or the check objects to it.
        """
        if self.check is not None:
            attempt.check = await self.check(attempt)
        if attempt.is_correct:
            attempt.reached.append("correct")
        elif not self.keep_failed:
            raise ConstructionError("wrong_answer")
        if self.drop_objected and objects(attempt.check):
            raise ConstructionError("check", attempt.check or "")

    def _messages(self, candidate: Candidate) -> list[dict[str, str]]:
        wrong, correct = candidate.wrong.text, candidate.correct.text
        if not wrong.strip() or not correct.strip():
            raise ConstructionError("empty_response")
        try:
            return construction_messages(candidate.prompt, wrong=wrong, correct=correct, template=self.template)
        except ValueError as error:
            raise ConstructionError("unsupported_query", str(error)) from error

    def _splice(self, candidate: Candidate, reconstruction: str) -> Spliced:
        return splice(
            candidate.wrong.ids,
            reconstruction,
            self.tokenizer,
            wrong_text=candidate.wrong.text,
            end_ids=turn_end(candidate.correct.ids, self.tokenizer),
            **self.splicing,
        )


def room_for_answer(prompt: int, sibling: int, *, max_tokens: int, max_model_len: int) -> int:
    """Most tokens that an answer may take behind a prompt of `prompt` tokens, which is never truncated.

    Raises:
        ConstructionError: "does_not_fit" if there is not even room for an answer as long as the sibling.
    """
    room = min(max_tokens, max_model_len - prompt)
    if room < min(max_tokens, sibling):
        raise ConstructionError("does_not_fit", f"{room} tokens behind a prompt of {prompt}")
    return room
