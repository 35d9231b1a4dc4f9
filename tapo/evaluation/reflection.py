"""The two rates that rest on the reflection detector: DSR and ERR."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.core.phrases import Detector, load_detector


@dataclass(frozen=True)
class ReflectionReport:
    """Rates with the counts that they rest on; a rate without responses in its denominator is NaN."""

    dsr: float
    """Direct Solution Rate: P(correct | the response contains no reflection)."""
    err: float
    """Effective Reflection Rate: P(correct | it contains one)."""
    counts: dict[str, dict[str, int]]
    """{"no_reflection": {"correct", "wrong"}, "reflection": {"correct", "wrong"}}."""


def reflection_rates(
    records: Iterable[Mapping[str, Any]],
    detector: Detector | None = None,
    *,
    reward_threshold: float = REWARD_THRESHOLD,
) -> ReflectionReport:
    """DSR and ERR over responses (the paper names them without denominators; docs/evaluation.md states ours).

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
    dsr, err = (part["correct"] / sum(part.values()) if any(part.values()) else math.nan for part in counts.values())
    return ReflectionReport(dsr, err, counts)


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
