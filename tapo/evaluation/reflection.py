"""The rates that rest on the reflection detector: readings of DSR and ERR, and how often responses reflect."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.core.phrases import Detector, load_detector

Cells = tuple[tuple[str, str], ...]
"""Of the 2x2 table of responses by reflection and correctness, as `ReflectionReport.counts` nests them."""

_DIRECT, _DIRECT_WRONG = ("no_reflection", "correct"), ("no_reflection", "wrong")
_REFLECTED, _REFLECTED_WRONG = ("reflection", "correct"), ("reflection", "wrong")
_ALL = (_DIRECT, _DIRECT_WRONG, _REFLECTED, _REFLECTED_WRONG)

READINGS: dict[str, tuple[Cells, Cells]] = {
    "dsr": ((_DIRECT,), (_DIRECT, _DIRECT_WRONG)),
    "direct_and_correct": ((_DIRECT,), _ALL),
    "direct_given_correct": ((_DIRECT,), (_DIRECT, _REFLECTED)),
    "err": ((_REFLECTED,), (_REFLECTED, _REFLECTED_WRONG)),
    "reflected_and_correct": ((_REFLECTED,), _ALL),
    "reflected_given_correct": ((_REFLECTED,), (_DIRECT, _REFLECTED)),
    "reflected_given_wrong": ((_REFLECTED_WRONG,), (_DIRECT_WRONG, _REFLECTED_WRONG)),
}
"""Name -> (cells of the numerator, cells of the denominator).

The paper names DSR and ERR without denominators. `dsr`, `direct_and_correct` and `direct_given_correct` are readings of
the first, `err`, `reflected_and_correct` and `reflected_given_correct` of the second; none is claimed to be the
paper's (docs/evaluation.md).
"""


@dataclass(frozen=True)
class ReflectionReport:
    """Rates with the counts that they rest on; a rate without responses in its denominator is NaN."""

    dsr: float
    """Direct Solution Rate: P(correct | the response contains no reflection)."""
    err: float
    """Effective Reflection Rate: P(correct | it contains one)."""
    counts: dict[str, dict[str, int]]
    """{"no_reflection": {"correct", "wrong"}, "reflection": {"correct", "wrong"}}."""

    @property
    def readings(self) -> dict[str, float]:
        """Every rate of `READINGS`, `dsr` and `err` among them."""
        return readings_of(self.counts)


def readings_of(counts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The rates of `READINGS` from the 2x2 table; NaN where a denominator is 0.

    Args:
        counts: as in `ReflectionReport`; shares of responses do as well.
    """

    def total(cells: Cells) -> float:
        return sum(counts[kind][outcome] for kind, outcome in cells)

    return {name: total(part) / total(whole) if total(whole) else math.nan for name, (part, whole) in READINGS.items()}


def reflection_rates(
    records: Iterable[Mapping[str, Any]],
    detector: Detector | None = None,
    *,
    reward_threshold: float = REWARD_THRESHOLD,
) -> ReflectionReport:
    """Rates of reflection and correctness over responses (`READINGS` says which; docs/evaluation.md says why).

    Args:
        records: rows of a verl dump: the text under `output`, and `acc`, else `score`. A boolean under `reflection`
            takes the detector's place, one under `correct` the score's.
        detector: the shipped one by default.
        reward_threshold: a response is correct iff its number is greater.

    Raises:
        ValueError: a record lacks a text or a number, or its number is not finite.
    """
    detector = detector or load_detector()
    seen = Counter(_judged(record, index, detector, reward_threshold) for index, record in enumerate(records))
    kinds = (("no_reflection", False), ("reflection", True))
    counts = {kind: {"correct": seen[reflects, True], "wrong": seen[reflects, False]} for kind, reflects in kinds}
    readings = readings_of(counts)
    return ReflectionReport(readings["dsr"], readings["err"], counts)


def _judged(record: Mapping[str, Any], index: int, detector: Detector, reward_threshold: float) -> tuple[bool, bool]:
    """(whether the response reflects, whether it is correct)."""
    reflects, output = record.get("reflection"), record.get("output")
    if not isinstance(reflects, bool):
        if not isinstance(output, str):
            raise ValueError(
                f"record {index}: output = {output!r} cannot work: needs a text, or a boolean `reflection`"
            )
        reflects = detector.reflects(output)
    key = next((key for key in ("correct", "acc", "score") if key in record), "score")
    number = record.get(key)
    if not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"record {index}: {key} = {number!r} cannot work: needs a finite number")
    return reflects, number > reward_threshold
