"""The pass-rate filter: queries that are neither mastered nor hopeless (the paper's RL data)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.table import Table

from tapo.config import ConfigError
from tapo.data.queries import QueryFiles, copy_queries
from tapo.data.query import Query
from tapo.data.rollout_store import RolloutStore
from tapo.files.atomic import write_text_atomically

LOW, HIGH = 0.125, 0.875
"""The paper drops queries that are solved less than 12.5 % or more than 87.5 % of the time."""
THRESHOLD = 0.5
"""A response is correct iff its score is greater, as in `algorithm.tapo.reward_threshold`."""
MOST_BARS = 17
"""Bars of a histogram with one for each number of correct responses; more are gathered in tenths."""


@dataclass(frozen=True)
class PassRate:
    """Correct responses of a query, out of how many."""

    correct: int
    samples: int

    @property
    def value(self) -> Fraction:
        """Exact."""
        return Fraction(self.correct, self.samples)


@dataclass(frozen=True)
class Band:
    """Pass rates that are kept, both ends included; compared as fractions, since 0.1 * 10 is a matter of rounding.

    Raises:
        ConfigError: no such band.
    """

    low: float = LOW
    high: float = HIGH

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1:
            raise ConfigError("low", self.low, "needs a share in [0, 1]")
        if not self.low <= self.high <= 1:
            raise ConfigError("high", self.high, f"needs a share in [low, 1], low being {self.low}")

    def holds(self, rate: PassRate) -> bool:
        """Whether a query of this pass rate is kept."""
        return Fraction(str(self.low)) <= rate.value <= Fraction(str(self.high))


@dataclass(frozen=True)
class Sampled:
    """What is known of a query that has rollouts."""

    rate: PassRate
    truth: str
    prompt: Sequence[Mapping[str, str]]


def read_pass_rates(store: RolloutStore, threshold: float = THRESHOLD) -> dict[str, Sampled]:
    """The queries of a store by their index; reads no responses.

    Raises:
        ValueError: the store is empty, or a part of it is damaged.
    """
    rates = {}
    for row in store.iter_columns(["index", "prompt", "ground_truth", "scores"]):
        correct = sum(score > threshold for score in row["scores"])
        rates[row["index"]] = Sampled(PassRate(correct, len(row["scores"])), row["ground_truth"], row["prompt"])
    if not rates:
        raise ValueError(f"{store.folder} holds no rollouts yet")
    return rates


def filter_queries(
    store: RolloutStore,
    data: QueryFiles,
    out: Path,
    band: Band,
    *,
    threshold: float = THRESHOLD,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """Copy the rows of verl parquet files whose pass rate lies in the band, every column as it is.

    Returns:
        The report: `queries`, `kept`, `too_hard`, `too_easy`, `missing` (without rollouts), `rows` (kept ones, more
        than `kept` where the data repeats a query), `unusable` (rows by reason), and `histogram`, a list of `correct`,
        `samples`, `queries`, `kept`. Also written to `OUT.pass_rates.json`.

    Raises:
        ValueError: rollouts of queries that `data` does not have or gives another prompt or answer, queries without
            rollouts (unless `allow_missing`), or nothing is kept.
        OSError: a full disk, for one; an earlier file is as it was.
    """
    rates = read_pass_rates(store, threshold)
    unused: set[str] = set(rates)
    missing: set[str] = set()

    def keep(query: Query) -> bool:
        if query.index not in rates:
            missing.add(query.index)
            return False
        _check_same(query, rates[query.index], f"in {data}", f"in {store.folder}")
        unused.discard(query.index)
        return band.holds(rates[query.index].rate)

    def check() -> None:
        if unused:
            raise ValueError(
                f"{_some(unused)} of {store.folder} are not in {data}: needs the data they were sampled from"
            )
        if missing and not allow_missing:
            raise ValueError(
                f"{_some(missing)} of {data} have no rollouts in {store.folder}: sample them, or leave them out with "
                "--allow-missing"
            )

    before = report_of_rates({index: sampled.rate for index, sampled in rates.items()}, band)
    if not before["kept"]:
        counts = f"{before['too_hard']} are too hard and {before['too_easy']} too easy"
        raise ValueError(f"no query has a pass rate in [{band.low}, {band.high}]: {counts}; nothing was written")
    rows = copy_queries(data, out, keep, check)
    report = before | {"queries": len(rates) + len(missing), "missing": len(missing)}
    report |= {"rows": rows, "unusable": dict(data.unusable)}
    write_text_atomically(out.with_name(f"{out.name}.pass_rates.json"), json.dumps(report, indent=1) + "\n")
    return report


def _check_same(query: Query, sampled: Sampled, here: str, there: str) -> None:
    if sampled.truth != query.truth_text:
        raise ValueError(
            f"query {query.index}: ground truth {query.truth_text!r} {here}, {sampled.truth!r} {there}: its rollouts "
            "were scored against another answer and need to be sampled again"
        )
    if list(sampled.prompt) != query.prompt:
        raise ValueError(
            f"query {query.index}: another prompt {here} than {there}: its rollouts need to be sampled again"
        )


def _some(indices: Any, most: int = 3) -> str:
    named = ", ".join(sorted(indices)[:most])
    return f"{len(indices)} queries ({named}{', ...' if len(indices) > most else ''})"


def report_of_rates(rates: Mapping[str, PassRate], band: Band) -> dict[str, Any]:
    """Counts by fate and by pass rate."""
    counts = Counter(rates.values())
    histogram = [
        {"correct": rate.correct, "samples": rate.samples, "queries": count, "kept": band.holds(rate)}
        for rate, count in sorted(counts.items(), key=lambda item: (item[0].value, item[0].samples))
    ]
    low = Fraction(str(band.low))
    dropped = {rate: count for rate, count in counts.items() if not band.holds(rate)}
    too_hard = sum(count for rate, count in dropped.items() if rate.value < low)
    return {
        "queries": len(rates),
        "kept": len(rates) - sum(dropped.values()),
        "too_hard": too_hard,
        "too_easy": sum(dropped.values()) - too_hard,
        "missing": 0,
        "histogram": histogram,
    }


def histogram_table(report: Mapping[str, Any]) -> Table:
    """One bar for each number of correct responses, or for each tenth where queries have different or many samples."""
    rows = report["histogram"]
    samples = {row["samples"] for row in rows}
    per_count = len(samples) == 1 and max(samples) < MOST_BARS
    queries: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    labels = [f"{n}/{max(samples)}" for n in range(max(samples) + 1)] if per_count else [_tenth(n) for n in range(10)]
    for row in rows:
        position = row["correct"] if per_count else min(9, 10 * row["correct"] // row["samples"])
        queries[labels[position]] += row["queries"]
        kept[labels[position]] += row["queries"] * row["kept"]
    table = Table("pass rate", "queries", "kept", "", title="Pass rates")
    for label in labels:
        bar = Bar(max(queries.values()), 0, queries[label], width=40, color="green" if kept[label] else "red")
        table.add_row(label, str(queries[label]), str(kept[label]), bar)
    return table


def _tenth(number: int) -> str:
    return f"{number / 10:.1f} to {(number + 1) / 10:.1f}"
