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
        """Exact: whether 0.1 * 10 is 1 is a matter of rounding."""
        return Fraction(self.correct, self.samples)

    def fate(self, band: Band) -> str:
        """`kept`, `too_hard` or `too_easy`."""
        if self.value < Fraction(str(band.low)):
            return "too_hard"
        return "too_easy" if self.value > Fraction(str(band.high)) else "kept"


def read_pass_rates(store: RolloutStore, reward_threshold: float = REWARD_THRESHOLD) -> dict[str, dict[str, Any]]:
    """`rate`, `prompt` and `ground_truth` of a store's queries by their index; reads no responses. A response is
    correct iff its score is greater. ValueError if the store is empty, or a part of it is damaged."""
    queries = {}
    for row in store.iter_columns(["index", "prompt", "ground_truth", "scores"]):
        scores = row.pop("scores")
        rate = PassRate(sum(score > reward_threshold for score in scores), len(scores))
        queries[row["index"]] = row | {"rate": rate}
    if not queries:
        raise ValueError(f"{store.folder} holds no rollouts yet")
    return queries


def filter_queries(options: FilterOptions, store: RolloutStore, data: QueryFiles) -> dict[str, Any]:
    """Copy the rows of verl parquet files whose pass rate lies in the band, every column as it is.

    Returns:
        The report: `queries`, `kept`, `too_hard`, `too_easy`, `missing` (without rollouts), `rows` (kept ones, more
        than `kept` where the data repeats a query), `unusable` (rows by reason), and `histogram`, a list of `correct`,
        `samples`, `queries`, `kept`. Also written to `OUT.pass_rates.json`.

    Raises:
        ValueError: rollouts of queries that `data` does not have or gives another prompt or answer, queries without
            rollouts (unless `allow_missing`), or nothing is kept.
    """
    sampled = read_pass_rates(store, options.reward_threshold)
    unused: set[str] = set(sampled)
    missing: set[str] = set()

    def keep(query: Query) -> bool:
        if query.index not in sampled:
            missing.add(query.index)
            return False
        row = sampled[query.index]
        if row["ground_truth"] != query.truth_text:
            raise ValueError(
                f"query {query.index}: ground truth {query.truth_text!r} in {data}, {row['ground_truth']!r} in "
                f"{store.folder}: its rollouts were scored against another answer and need to be sampled again"
            )
        if row["prompt"] != query.prompt:
            raise ValueError(
                f"query {query.index}: another prompt in {data} than in {store.folder}: its rollouts need to be "
                "sampled again"
            )
        unused.discard(query.index)
        return row["rate"].fate(options) == "kept"

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

    report = report_of_rates([row["rate"] for row in sampled.values()], options)
    if not report["kept"]:
        counts = f"{report['too_hard']} are too hard and {report['too_easy']} too easy"
        raise ValueError(f"no query has a pass rate in [{options.low}, {options.high}]: {counts}; nothing was written")
    rows = copy_queries(data, options.out, keep, check)
    report |= {"queries": len(sampled) + len(missing), "missing": len(missing)}
    report |= {"rows": rows, "unusable": dict(data.unusable)}
    path = options.out.with_name(f"{options.out.name}.pass_rates.json")
    write_text_atomically(path, json.dumps(report, indent=1) + "\n")
    return report


def report_of_rates(rates: Sequence[PassRate], band: Band) -> dict[str, Any]:
    """Counts by fate and by pass rate."""
    fates = Counter(rate.fate(band) for rate in rates)
    histogram = [
        {"correct": rate.correct, "samples": rate.samples, "queries": count, "kept": rate.fate(band) == "kept"}
        for rate, count in sorted(Counter(rates).items(), key=lambda item: (item[0].value, item[0].samples))
    ]
    counts = {fate: fates[fate] for fate in ("kept", "too_hard", "too_easy", "missing")}
    return {"queries": len(rates), **counts, "histogram": histogram}


def histogram_table(report: Mapping[str, Any]) -> Table:
    """One bar for each number of correct responses, or for each tenth where queries have different or many samples."""
    rows = report["histogram"]
    samples = max(row["samples"] for row in rows)
    per_count = samples < MOST_BARS and all(row["samples"] == samples for row in rows)
    queries: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    for row in rows:
        bar = row["correct"] if per_count else min(9, 10 * row["correct"] // row["samples"])
        queries[bar] += row["queries"]
        kept[bar] += row["queries"] * row["kept"]
    table = Table("pass rate", "queries", "kept", "", title="Pass rates")
    for bar in range(samples + 1 if per_count else 10):
        label = f"{bar}/{samples}" if per_count else f"{bar / 10:.1f} to {(bar + 1) / 10:.1f}"
        drawn = Bar(max(queries.values()), 0, queries[bar], width=40, color="green" if kept[bar] else "red")
        table.add_row(label, str(queries[bar]), str(kept[bar]), drawn)
    return table


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
