"""One construction: ask the actor, parse its answer, splice it, correct and score the result (TAPO, section 3.3).

RL and the cold start both come this way, each with its own engine and its own reward.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tapo.core.answer import Construction, parse_construction
from tapo.core.asking import Answer
from tapo.core.attempt import Attempt, Candidate
from tapo.core.form import PAPER_FORM, Form
from tapo.core.funnel import ConstructionError
from tapo.core.objections import objects
from tapo.core.prompts import construction_messages
from tapo.core.reconstruction import Spliced, splice, splice_opening
from tapo.core.tokens import turn_end


class Verdict(NamedTuple):
    """What the reward says of a trajectory."""

    reward: float
    is_correct: bool


Ask = Callable[[Attempt, list[dict[str, str]]], Awaitable[Answer]]
"""Puts a construction prompt, as chat messages, to the actor, and counts its tokens in the attempt."""
GoOn = Callable[[Attempt], Awaitable[Sequence[int]]]
"""Lets the policy go on from the spliced opening, as a response to the plain query; its tokens, the end of the turn
included."""
ScoreSpliced = Callable[[Spliced], Awaitable[Verdict]]
"""Scores a trajectory as a response to the query."""
CheckSpliced = Callable[[Attempt], Awaitable[str]]
"""Says of a scored attempt what is to be objected to its text: a label, or "" for nothing (`tapo.core.check`)."""


@dataclass(frozen=True)
class Constructor:
    """How a wrong response becomes a micro-reflective trajectory.

    Attributes:
        tokenizer: Hugging Face tokenizer.
        template: the construction prompt.
        splicing: options of `splice`, `max_length` among them.
        keep_failed: whether a trajectory that is not correct is kept, as a negative.
        form: what the template asks for.
        check: asked of every scored trajectory, where there is one.
        drop_objected: whether a trajectory that the check objects to is dropped.
    """

    tokenizer: Any
    template: str
    splicing: Mapping[str, Any]
    keep_failed: bool
    form: Form = PAPER_FORM
    check: CheckSpliced | None = None
    drop_objected: bool = False

    async def open(self, attempt: Attempt, ask: Ask) -> None:
        """Ask, parse and splice; the attempt says how far it got when this raises.

        Raises:
            ConstructionError: the candidate must be dropped.
        """
        answer = await ask(attempt, self._messages(attempt.candidate))
        attempt.answer, attempt.own = answer.text, self.form.own and not answer.whole
        construction = parse_construction(attempt.answer, ended=answer.ended)
        attempt.thought, attempt.closed = construction.thought, construction.closed
        attempt.reached.append("parsed")
        attempt.spliced = self._splice(attempt, construction)
        attempt.reached.append("spliced")

    async def finish(self, attempt: Attempt, go_on: GoOn, score: ScoreSpliced) -> None:
        """Let the policy correct, where it does so by itself, and score.

        Raises:
            ConstructionError: the candidate must be dropped.
        """
        assert attempt.spliced is not None
        if attempt.own:
            attempt.spliced = attempt.spliced.continued(await go_on(attempt), self.tokenizer)
        attempt.reward, attempt.is_correct = await score(attempt.spliced)
        if not math.isfinite(attempt.reward):
            raise ConstructionError("no_reward", f"got {attempt.reward}")
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

    def _splice(self, attempt: Attempt, construction: Construction) -> Spliced:
        wrong, correct = attempt.candidate.wrong, attempt.candidate.correct
        if attempt.own:
            opening = construction.reconstruction + "\n" * construction.newline
            options = {name: value for name, value in self.splicing.items() if name != "keep_prefix"}
            return splice_opening(wrong.ids, opening, self.tokenizer, wrong_text=wrong.text, **options)
        return splice(
            wrong.ids,
            construction.reconstruction,
            self.tokenizer,
            wrong_text=wrong.text,
            end_ids=turn_end(correct.ids, self.tokenizer),
            **self.splicing,
        )
