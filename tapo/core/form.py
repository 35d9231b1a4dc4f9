"""The forms in which a construction is asked for, and the answers that teach them."""

from typing import Literal, NamedTuple

from tapo.core.anchor import find_anchor, quote_for
from tapo.core.answer import CLOSE_TAG, parse_opening, visible_answer
from tapo.core.funnel import ConstructionError
from tapo.core.prompts import construction_prompt

Copy = Literal["verbatim", "anchored"]
Correction = Literal["guided", "own"]
Corrections = Literal["guided", "own", "mixed"]
"""What a run may ask for: `mixed` is either of the others, group by group."""


class Form(NamedTuple):
    """What an answer to a construction prompt holds. The paper's is `verbatim`, `guided` (section 3.3).

    Attributes:
        copy: `verbatim`: the actor writes out the erroneous prefix; `anchored`: it quotes the erroneous passage, and
            the attempt's own tokens up to there are put into its answer.
        correction: `guided`: the actor, which is shown the correct sibling, writes the correction; `own`: it ends
            behind the reflection, and the policy goes on by itself from the plain query.
    """

    copy: Copy = "verbatim"
    correction: Correction = "guided"

    @property
    def anchored(self) -> bool:
        """Whether the erroneous passage is quoted."""
        return self.copy == "anchored"

    @property
    def own(self) -> bool:
        """Whether the policy corrects by itself."""
        return self.correction == "own"

    @property
    def prompt(self) -> str:
        """The construction prompt that asks for it."""
        return construction_prompt(anchored=self.anchored, own=self.own)


PAPER_FORM = Form()


def taught_answer(
    answer: str, *, wrong: str, prefix: str, reflection: str, correction: str, form: Form = PAPER_FORM
) -> str | None:
    """The answer that teaches a form, out of one that a good construction came from, whatever its own form.

    Args:
        answer: the actor's.
        wrong: the wrong response's text.
        prefix, reflection, correction: of the trajectory.

    Returns:
        The answer; None where no quote of the erroneous passage means it alone.
    """
    text = visible_answer(answer).strip()
    if form == PAPER_FORM:
        return text
    try:
        head, quote = parse_opening(text)
    except ConstructionError:
        return None
    if form.anchored and not _means_end(quote, wrong, len(prefix)):
        added = quote_for(wrong, len(prefix))
        if added is None:
            return None
        end = head.lower().rindex("</analysis>")
        head = f"{head[:end]}\n<quote>{added}</quote>{head[end:]}"
    new = reflection.rstrip(" ") if form.own else reflection + correction
    return f"{head}{prefix}{new}{CLOSE_TAG}"


def _means_end(quote: str, wrong: str, end: int) -> bool:
    """Whether a quote means the passage that ends there, white space aside."""
    try:
        found = find_anchor(quote, wrong).end
    except ConstructionError:
        return False
    return not wrong[min(found, end) : max(found, end)].strip()
