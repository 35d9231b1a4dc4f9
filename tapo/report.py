"""What became of a group's constructions: the counts behind the funnel metrics."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class GroupReport:
    """One group's counts; a sum of them is a step's."""

    total: int = 1
    eligible: int = 0
    unsupported: int = 0
    generated_tokens: int = 0
    construct_s: float = 0.0
    prefix_fraction_sum: float = 0.0
    """Over spliced constructions: kept tokens over the wrong rollout's."""
    without_reflection: int = 0
    """Spliced constructions in which no reflection was recognised; a full reconstruction has none by its nature and
    does not count."""
    funnel: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def to_tag(self) -> dict[str, Any]:
        """Plain containers, as TransferQueue tags carry them."""
        return {**vars(self), "funnel": dict(self.funnel), "rejected": dict(self.rejected)}

    @classmethod
    def from_tag(cls, tag: dict[str, Any]) -> "GroupReport":
        """The inverse of `to_tag`."""
        return cls(**{**tag, "funnel": Counter(tag["funnel"]), "rejected": Counter(tag["rejected"])})

    @classmethod
    def total_of(cls, reports: Iterable["GroupReport"]) -> "GroupReport":
        """The sum over groups; zero for none."""
        result = cls(total=0)
        for report in reports:
            for name, value in vars(report).items():
                setattr(result, name, getattr(result, name) + value)
        return result
