"""The pass-rate filter: queries that are neither mastered nor hopeless (the paper's RL data)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.data.options import Band, FilterOptions
from tapo.data.queries import QueryFiles, copy_queries, some
from tapo.data.query import Query
from tapo.data.rollout_store import RolloutStore
from tapo.files.atomic import write_text_atomically
from tapo.files.markers import is_complete, print_counts, report_of, stage
from tapo.terminal import say

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

    def within(self, band: Band) -> bool:
        """Whether the query is kept; compared as fractions, since 0.1 * 10 is a matter of rounding."""
        return Fraction(str(band.low)) <= self.value <= Fraction(str(band.high))


@dataclass(frozen=True)
class Sampled:
    """What is known of a query that has rollouts."""

    rate: PassRate
    truth: str
    prompt: Sequence[Mapping[str, str]]


def read_pass_rates(store: RolloutStore, reward_threshold: float = REWARD_THRESHOLD) -> dict[str, Sampled]:
    """The queries of a store by their index; reads no responses. A response is correct iff its score is greater.

    Raises:
        ValueError: the store is empty, or a part of it is damaged.
    """
    rates = {}
    for row in store.iter_columns(["index", "prompt", "ground_truth", "scores"]):
        correct = sum(score > reward_threshold for score in row["scores"])
        rates[row["index"]] = Sampled(PassRate(correct, len(row["scores"])), row["ground_truth"], row["prompt"])
    if not rates:
        raise ValueError(f"{store.folder} holds no rollouts yet")
    return rates


def filter_queries(options: FilterOptions, store: RolloutStore, data: QueryFiles) -> dict[str, Any]:
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
    rates = read_pass_rates(store, options.reward_threshold)
    unused: set[str] = set(rates)
    missing: set[str] = set()

    def keep(query: Query) -> bool:
        if query.index not in rates:
            missing.add(query.index)
            return False
        _check_same(query, rates[query.index], f"in {data}", f"in {store.folder}")
        unused.discard(query.index)
        return rates[query.index].rate.within(options)

    def check() -> None:
        if unused:
            raise ValueError(
                f"{some(sorted(unused))} of {store.folder} are not in {data}: needs the data they were sampled from"
            )
        if missing and not options.allow_missing:
            raise ValueError(
                f"{some(sorted(missing))} of {data} have no rollouts in {store.folder}: sample them, or leave them out "
                "with --allow-missing"
            )

    before = report_of_rates({index: sampled.rate for index, sampled in rates.items()}, options)
    if not before["kept"]:
        counts = f"{before['too_hard']} are too hard and {before['too_easy']} too easy"
        raise ValueError(f"no query has a pass rate in [{options.low}, {options.high}]: {counts}; nothing was written")
    rows = copy_queries(data, options.out, keep, check)
    report = before | {"queries": len(rates) + len(missing), "missing": len(missing)}
    report |= {"rows": rows, "unusable": dict(data.unusable)}
    write_text_atomically(
        options.out.with_name(f"{options.out.name}.pass_rates.json"), json.dumps(report, indent=1) + "\n"
    )
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


def report_of_rates(rates: Mapping[str, PassRate], band: Band) -> dict[str, Any]:
    """Counts by fate and by pass rate."""
    counts = Counter(rates.values())
    histogram = [
        {"correct": rate.correct, "samples": rate.samples, "queries": count, "kept": rate.within(band)}
        for rate, count in sorted(counts.items(), key=lambda item: (item[0].value, item[0].samples))
    ]
    low = Fraction(str(band.low))
    dropped = {rate: count for rate, count in counts.items() if not rate.within(band)}
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


def run_filter(options: FilterOptions, console: Console) -> None:
    """Write the queries whose pass rate lies in the band, and print the histogram."""
    out, store = options.out, RolloutStore.open(options.rollouts)
    data = QueryFiles(options.data, options)
    facts = {
        "stage": "filter",
        "rollouts": store.content_fingerprint(),
        "data": data.fingerprint(),
        "band": options.part(Band),
        "reward_threshold": options.reward_threshold,
        "allow_missing": options.allow_missing,
    }
    if not is_complete(out, facts, console):
        with stage(out, facts) as report:
            report |= filter_queries(options, store, data)
    report = report_of(out)
    console.print(histogram_table(report))
    dropped = {"too hard": report["too_hard"], "too easy": report["too_easy"], "without rollouts": report["missing"]}
    dropped |= {f"{reason} (rows)": count for reason, count in report["unusable"].items()}
    print_counts(out, {"kept": report["kept"], "dropped": dropped}, console)
    if report["rows"] != report["kept"]:
        say(f"{report['rows']} rows: the data repeats queries", console)
