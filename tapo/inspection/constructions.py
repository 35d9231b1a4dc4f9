"""The attempted constructions of a run or of a cold start: counted, filtered, joined with the trained rows."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapo.cold_start.store import ConstructionStore, StoredAttempts
from tapo.core.defaults import REWARD_THRESHOLD
from tapo.core.funnel import TRAINED
from tapo.core.objections import OBJECTED, named, objects
from tapo.files.json_lines import Line
from tapo.inspection.options import InspectOptions
from tapo.records import ConstructionRecord, RecordReader, TrainedRecord

Records = RecordReader[ConstructionRecord] | StoredAttempts
"""Where constructions are read from: a dump's lines, a store of the cold start."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept in memory of one construction."""

    place: Any
    step: int
    key: str
    outcome: str
    correct: bool
    check: str | None = None
    """What the run's check said of it; None where it was not asked."""


@dataclass
class Constructions:
    """The counts of all constructions, and an entry for each.

    Attributes:
        funnel: {step: counts of the stages of `FUNNEL`}; `step` is the one that submitted the query.
        reasons: how many were rejected for what.
        checks: of how many the run's check said what, by its name (see `tapo.core.objections.named`).
    """

    records: Records
    entries: list[Entry] = field(default_factory=list)
    funnel: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)

    def chosen(self, options: InspectOptions) -> list[Entry]:
        """Those that the options ask for, in the order of their steps."""
        steps, outcomes = options.steps, options.outcomes
        return sorted(
            (
                entry
                for entry in self.entries
                if (steps is None or steps[0] <= entry.step <= steps[1])
                and (outcomes == "all" or (outcomes == TRAINED) == (entry.outcome == TRAINED))
                and options.reason in (None, entry.outcome)
                and (entry.correct or not options.correct)
                and (options.verdict is None or is_said(options.verdict, entry.check))
            ),
            key=lambda entry: entry.step,
        )

    def load(self, entry: Entry) -> ConstructionRecord:
        """The whole record."""
        return self.records.load(entry.place)


def read_constructions(folder: Path, *, reward_threshold: float = REWARD_THRESHOLD) -> Constructions:
    """Read all constructions in one pass; texts stay on disk until they are asked for.

    Args:
        folder: what `algorithm.tapo.dump_dir` named, or what `tapo cold-start build` wrote.
        reward_threshold: a trajectory is correct iff its reward is greater, in a dump that does not say.

    Raises:
        ValueError: the folder holds no constructions, or a record is broken (names file, line and field).
    """
    found = Constructions(_records(folder))
    for place, record in found.records.placed():
        correct = record.correct_above(reward_threshold)
        found.entries.append(Entry(place, record.step, record.key, record.outcome, correct, record.check))
        if record.check is not None:
            found.checks[named(record.check)] += 1
        found.funnel[record.step].update(record.stages(reward_threshold))
        if record.outcome != TRAINED:
            found.reasons[record.outcome] += 1
    if not found.entries:
        raise ValueError(f"{folder} holds no constructions in constructions-*.jsonl; set algorithm.tapo.dump_dir")
    return found


def is_said(verdict: str, check: str | None) -> bool:
    """Whether a check said what is asked for: a label, `no_objection`, or `objected` for any objection."""
    return objects(check) if verdict == OBJECTED else check is not None and verdict == named(check)


def _records(folder: Path) -> Records:
    for place in (folder, folder / "constructions"):
        if (place / "manifest.json").is_file():
            return StoredAttempts(ConstructionStore.open(place))
    return RecordReader(folder, ConstructionRecord)


class TrainedRows:
    """Where the rows that were trained stand, by key.

    Args:
        folder: as `read_constructions` is given it.
        entries: constructions whose rows are looked for.

    Attributes:
        ambiguous: keys that name several constructions or several rows, as after a resume that repeats a step; they
            are joined with none.

    Raises:
        ValueError: a row is broken (names file, line and field).
    """

    def __init__(self, folder: Path, entries: Sequence[Entry]):
        self.reader = RecordReader(folder, TrainedRecord)
        keys = Counter(entry.key for entry in entries if entry.outcome == TRAINED)
        self._places: dict[str, Line] = {}
        self.ambiguous = {key for key, number in keys.items() if number > 1}
        for place, row in self.reader.placed():
            if row.constructed and row.key in keys:
                if row.key in self._places:
                    self.ambiguous.add(row.key)
                self._places[row.key] = place

    def of(self, entry: Entry) -> TrainedRecord | None:
        """The trained row of a construction; None where there is none.

        Raises:
            ValueError: the row lacks its weights.
        """
        place = self._places.get(entry.key)
        if place is None or entry.outcome != TRAINED or entry.key in self.ambiguous:
            return None
        row = self.reader.load(place)
        if row.weights is None:
            raise ValueError(f"{place}: field 'weights' is None, allowed is a list of numbers")
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
