"""The attempted constructions of a dump: checked, counted, filtered, joined with the rows that were trained."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any

from tapo.construction.dump import DumpReader, Place
from tapo.construction.group_report import ROLLOUT_REASONS
from tapo.core.reconstruction import REASONS, ConstructionError, parse_construction

NUMBER = int | float
FIELDS: dict[str, type | UnionType] = {
    "step": int,
    "uid": str,
    "key": str,
    "query": str | list,
    "wrong_session": int,
    "wrong": str,
    "wrong_reward": NUMBER,
    "correct_session": int,
    "correct": str,
    "answer": str,
    "prefix": str | None,
    "reflection": str | None,
    "correction": str | None,
    "prefix_length": int | None,
    "reward": NUMBER | None,
    "outcome": str,
}
"""What the inspection reads of a construction. `query` is a list where the last message holds several parts."""

TRAINED_FIELDS: dict[str, type | UnionType] = {"step": int, "key": str, "constructed": bool, "advantage": NUMBER}
OUTCOMES = ("trained", "rejected", "all")
ALL_REASONS = REASONS + ROLLOUT_REASONS


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept in memory of one construction."""

    place: Place
    step: int
    key: str
    outcome: str
    right: bool
    """As the run saw it; in a dump that does not say, whether its reward exceeds the threshold."""


@dataclass(frozen=True)
class Wanted:
    """Which constructions to show.

    Raises:
        ValueError: an unknown outcome or reason, or a reason of rejection for trained ones.
    """

    steps: tuple[int, int] | None = None
    """First and last step, both included."""
    outcome: str = "all"
    reason: str | None = None
    right: bool = False
    """Only those with the right answer."""

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome = {self.outcome!r} cannot work: allowed are {', '.join(OUTCOMES)}")
        if self.reason is not None and self.reason not in ALL_REASONS:
            raise ValueError(f"reason = {self.reason!r} cannot work: allowed are {', '.join(ALL_REASONS)}")
        if self.reason is not None and self.outcome == "trained":
            raise ValueError(f"reason = {self.reason!r} cannot work with outcome = 'trained': allowed is rejected")

    def fits(self, entry: Entry) -> bool:
        """Whether a construction is wanted."""
        return (
            (self.steps is None or self.steps[0] <= entry.step <= self.steps[1])
            and (self.outcome == "all" or (self.outcome == "trained") == (entry.outcome == "trained"))
            and (self.reason is None or self.reason == entry.outcome)
            and (entry.right or not self.right)
        )


def parse_steps(text: str) -> tuple[int, int]:
    """(first, last) of `7` or `7-12`.

    Raises:
        ValueError: neither of the two, or the last step comes before the first.
    """
    first, dash, last = text.partition("-")
    if first.isdecimal() and (last.isdecimal() if dash else not last):
        steps = int(first), int(last or first)
        if steps[0] <= steps[1]:
            return steps
    raise ValueError(f"step = {text!r} cannot work: needs a step such as 7 or a range such as 7-12")


@dataclass
class Constructions:
    """A dump's constructions: the counts of all, an entry for each, and where the trained rows stand.

    Attributes:
        funnel: {step: counts of the stages of the funnel}; `step` is the one that submitted the query.
        reasons: how many were rejected for what.
        unfinished: files whose half-written last line was skipped.
    """

    reader: DumpReader
    entries: list[Entry] = field(default_factory=list)
    funnel: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    unfinished: list[Path] = field(default_factory=list)

    def chosen(self, wanted: Wanted) -> list[Entry]:
        """The wanted ones in the order of their steps."""
        return sorted((entry for entry in self.entries if wanted.fits(entry)), key=lambda entry: entry.step)

    def load(self, entry: Entry) -> dict[str, Any]:
        """The whole record."""
        return self.reader.load(entry.place)


def read_constructions(dump: Path, *, threshold: float = 0.5) -> Constructions:
    """Read a dump in one pass; texts stay on disk until they are asked for.

    Args:
        dump: the folder that `algorithm.tapo.dump_dir` named.
        threshold: a trajectory is right iff its reward is greater, in a dump whose records do not say.

    Raises:
        ValueError: the folder holds no constructions, or a record is broken (names file, line and field).
    """
    reader = DumpReader(dump, "constructions", FIELDS)
    found = Constructions(reader)
    for place, record in reader.placed():
        by_reward = record["reward"] is not None and record["reward"] > threshold
        right = bool(record.get("is_correct", by_reward))
        found.entries.append(Entry(place, record["step"], record["key"], record["outcome"], right))
        found.funnel[record["step"]].update(stages(record, right))
        if record["outcome"] != "trained":
            found.reasons[record["outcome"]] += 1
    if not found.entries:
        raise ValueError(f"{dump} holds no constructions in constructions-*.jsonl; set algorithm.tapo.dump_dir")
    found.unfinished = list(reader.unfinished)
    return found


def stages(record: dict[str, Any], right: bool) -> list[str]:
    """The stages of the funnel that a construction has reached, as the metrics of the run count them."""
    reached = {
        "attempted": True,
        "parsed": _parses(record["answer"]),
        "spliced": record["prefix"] is not None,
        "correct": right,
        "trained": record["outcome"] == "trained",
    }
    return [stage for stage, yes in reached.items() if yes]


def _parses(answer: str) -> bool:
    try:
        parse_construction(answer)
    except ConstructionError:
        return False
    return True


class TrainedRows:
    """Where the rows that were trained stand, by key.

    Args:
        dump: the folder that `algorithm.tapo.dump_dir` named.
        entries: constructions whose rows are looked for.

    Attributes:
        ambiguous: keys that name several constructions or several rows, as after a resume that repeats a step; they
            are joined with none.

    Raises:
        ValueError: a row is broken (names file, line and field).
    """

    def __init__(self, dump: Path, entries: Sequence[Entry]):
        self.reader = DumpReader(dump, "trained", TRAINED_FIELDS)
        keys = Counter(entry.key for entry in entries if entry.outcome == "trained")
        self._places: dict[str, Place] = {}
        self.ambiguous = {key for key, number in keys.items() if number > 1}
        for place, row in self.reader.placed():
            key = row["key"]
            if row["constructed"] and key in keys:
                if key in self._places:
                    self.ambiguous.add(key)
                self._places[key] = place
        self.unfinished = list(self.reader.unfinished)

    def of(self, entry: Entry) -> dict[str, Any] | None:
        """The trained row of a construction: its advantage and, per token, its `weights`; None where there is none.

        Raises:
            ValueError: the row lacks its weights.
        """
        place = self._places.get(entry.key)
        if place is None or entry.outcome != "trained" or entry.key in self.ambiguous:
            return None
        row = self.reader.load(place)
        if not isinstance(row.get("weights"), list):
            raise ValueError(f"{place}: field 'weights' is {row.get('weights')!r:.80}, allowed is a list of numbers")
        return row


def spread_over_steps(entries: Iterable[Entry], limit: int, seed: int) -> list[Entry]:
    """At most `limit` entries (>= 1), as evenly over the steps as their numbers allow; the same for the same seed."""
    by_step: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_step[entry.step].append(entry)
    if len(by_step) > limit:
        steps = sorted(by_step)
        by_step = {step: by_step[step] for step in (steps[i * len(steps) // limit] for i in range(limit))}
    chosen: dict[int, list[Entry]] = {}
    left = limit
    # The scarcest steps first: what they cannot fill of their share falls to the others.
    for position, step in enumerate(sorted(by_step, key=lambda step: (len(by_step[step]), step))):
        share = min(left // (len(by_step) - position), len(by_step[step]))
        draw = random.Random(f"{seed}/{step}")
        picked = set(draw.sample(range(len(by_step[step])), share))
        chosen[step] = [entry for i, entry in enumerate(by_step[step]) if i in picked]
        left -= share
    return [entry for step in sorted(chosen) for entry in chosen[step]]
