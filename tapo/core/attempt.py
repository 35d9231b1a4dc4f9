"""A candidate for construction, and what becomes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tapo.core.decoding import Usage
from tapo.core.funnel import TRAINED
from tapo.core.reconstruction import Spliced


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


@dataclass
class Attempt:
    """One candidate on its way: filled in as far as it gets."""

    candidate: Candidate
    answer: str = ""
    usage: Usage = field(default_factory=Usage)
    thought: bool = False
    """Whether thinking stood in front of the answer."""
    closed: bool = True
    """Whether the answer had its last tag."""
    anchor: str | None = None
    """How the quoted passage was found (`tapo.core.anchor.Anchor.found`); None where none was looked for."""
    own: bool = False
    """Whether the policy corrects by itself."""
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

    def again(self) -> "Attempt":
        """Another attempt with the same opening, whose tokens this one has counted."""
        return replace(self, usage=Usage(), reached=list(self.reached))
