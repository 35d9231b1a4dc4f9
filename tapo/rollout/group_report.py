"""What became of a group's constructions: the counts behind the funnel metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tapo.core.funnel import TRAINED
from tapo.records import ConstructionRecord
from tapo.rollout.texts import edit_size, repeats_last_line

NO_CORRECT_KEY = "lacks correct_key"
"""How the reason begins for which a session without the run's `correct_key` is left alone."""

NEEDLESS_REFLECTION = "needless_reflection"
"""Key of the reward's extra info under which a task that can tell says whether a response reflects on no error."""


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
    prompt_tokens: int = 0
    """Of the requests behind them."""
    placed_tokens: int = 0
    """Of wrong rollouts, put into answers in place of being decoded."""
    construct_s: float = 0.0
    prefix_fraction_sum: float = 0.0
    """Over spliced constructions: kept tokens over the wrong rollout's."""
    without_reflection: int = 0
    """Spliced constructions in which no reflection was recognised; a full reconstruction has none by its nature and
    does not count."""
    repeated_lines: int = 0
    """Spliced constructions whose correction repeats the line in which the error was caught."""
    edit_size_sum: float = 0.0
    """Over spliced constructions: see `tapo.rollout.texts.edit_size`."""
    checks: Counter[str] = field(default_factory=Counter)
    """Spliced constructions by what the run's check said of them."""
    correct_checks: Counter[str] = field(default_factory=Counter)
    """The same of correct ones."""
    unclosed: int = 0
    """Parsed answers without their last tag."""
    anchors: Counter[str] = field(default_factory=Counter)
    """Quoted passages by how they were found."""
    own: int = 0
    """Scored constructions that the policy corrected by itself."""
    own_correct: int = 0
    funnel: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    """Sessions that construction does not cover, by reason."""
    dump_lost: int = 0
    """Records that could not be written, since the last group's report."""
    looked_at: int = 0
    """Sessions that it does."""
    reflecting: int = 0
    """Of these, such in whose response the detector behind DSR and ERR finds a reflection."""
    judged_needless: int = 0
    """Of these, such whose reward says whether the response reflects needlessly."""
    needless: float = 0.0

    def count(self, record: ConstructionRecord, *, closed: bool = True) -> None:
        """Add one attempted construction, and whether its answer had its last tag."""
        self.unclosed += not closed
        self.funnel.update(record.reached)
        self.generated_tokens += record.answer_tokens
        self.prompt_tokens += record.prompt_tokens
        self.placed_tokens += record.placed_tokens
        if record.anchor is not None:
            self.anchors[record.anchor] += 1
        if record.own and record.is_correct is not None:
            self.own += 1
            self.own_correct += record.is_correct
        if record.outcome != TRAINED:
            self.rejected[record.outcome] += 1
        if record.prefix_length is not None:
            self.prefix_fraction_sum += record.prefix_length / record.wrong_tokens
            self.without_reflection += int(record.has_reflection is False)
            self._count_text(record, record.prefix_length)

    def _count_text(self, record: ConstructionRecord, prefix_length: int) -> None:
        self.repeated_lines += repeats_last_line(record.prefix or "", record.correction or "")
        self.edit_size_sum += edit_size(
            tokens=record.tokens, prefix_length=prefix_length, wrong_tokens=record.wrong_tokens
        )
        if record.check is not None:
            self.checks[record.check] += 1
            self.correct_checks[record.check] += bool(record.is_correct)

    def look_at(self, *, reflects: bool, reward_info: Mapping[str, Any]) -> None:
        """Add one rollout, with the extra info of its reward."""
        self.looked_at += 1
        self.reflecting += reflects
        if (needless := reward_info.get(NEEDLESS_REFLECTION)) is not None:
            self.judged_needless += 1
            self.needless += float(needless)

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
