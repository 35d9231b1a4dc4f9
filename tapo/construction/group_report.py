"""What became of a group's constructions: the counts behind the funnel metrics."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

NO_CORRECT_KEY = "lacks correct_key"
"""How the reason begins for which a session without the run's `correct_key` is left alone."""

FUNNEL = ("attempted", "parsed", "spliced", "correct", "trained")

ROLLOUT_REASONS = (
    "unsupported_query",  # not one text-only user turn
    "empty_response",  # the wrong rollout or its sibling is blank
    "does_not_fit",  # prompt and answer exceed rollout.max_model_len
    "timeout",
    "error",  # the engine, the reward or our own code raised
    "wrong_answer",  # spliced, but its reward is no better than a wrong rollout's; dropped by contrast=none only
)
"""Reasons of rejection that arise around the actor's answer; the others are `tapo.core.reconstruction.REASONS`."""


class RejectedError(Exception):
    """A candidate that is dropped for one of `ROLLOUT_REASONS`."""

    def __init__(self, reason: str):
        assert reason in ROLLOUT_REASONS, reason
        super().__init__(reason)
        self.reason = reason


@dataclass
class GroupReport:
    """One group's counts; a sum of them is a step's."""

    total: int = 1
    eligible: int = 0
    unsupported: int = 0
    """Groups with a session that construction does not cover."""
    usable: int = 1
    """Groups with a session that it does."""
    generated_tokens: int = 0
    construct_s: float = 0.0
    prefix_fraction_sum: float = 0.0
    """Over spliced constructions: kept tokens over the wrong rollout's."""
    without_reflection: int = 0
    """Spliced constructions in which no reflection was recognised; a full reconstruction has none by its nature and
    does not count."""
    funnel: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    """Sessions that construction does not cover, by reason."""

    def to_tag(self) -> dict[str, Any]:
        """Plain containers, as TransferQueue tags carry them."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_tag(cls, tag: dict[str, Any]) -> "GroupReport":
        """The inverse of `to_tag`."""
        fields: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value for name, value in tag.items()
        }
        return cls(**fields)

    @classmethod
    def total_of(cls, reports: Iterable["GroupReport"]) -> "GroupReport":
        """The sum over groups; zero for none."""
        result = cls(total=0, usable=0)
        for report in reports:
            for name, value in vars(report).items():
                setattr(result, name, getattr(result, name) + value)
        return result
