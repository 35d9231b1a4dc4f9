"""The figures of one benchmark of one run at one step: ratios of sums over problems, ready for resampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tapo.evaluation.bootstrap import Estimate, estimates
from tapo.evaluation.dumps import UNKNOWN, Dump
from tapo.evaluation.pass_at_k import pass_at_k
from tapo.evaluation.reflection import READINGS

KS = (1, 2, 4, 5, 8, 16)
FEW_PROBLEMS = 10
"""Below this percentile intervals are known to be too narrow, and the report says so."""

LABELS = {
    "accuracy": "mean accuracy",
    "majority": "majority vote",
    "dsr": "DSR as P(correct | no reflection)",
    "direct_and_correct": "DSR as P(correct and no reflection)",
    "direct_given_correct": "DSR as P(no reflection | correct)",
    "err": "ERR as P(correct | reflection)",
    "reflected_and_correct": "ERR as P(correct and reflection)",
    "reflected_given_correct": "ERR as P(reflection | correct)",
    "reflected_given_wrong": "P(reflection | wrong)",
    "reflections": "responses with a reflection",
    "needless_reflection": "responses with a needless reflection",
    "faithful": "correct responses without an objection to their text",
    "length": "response length",
    "truncated": "truncated",
    "unparsable": "unparsable answers",
}
"""Key in the JSON report -> name in tables; Pass@k comes behind the accuracy as `pass@K`."""
IF_DUMPED = ("needless_reflection", "faithful")
"""Figures that only some tasks can tell: left out where a dump does not have them."""


class Ratios(NamedTuple):
    """Ratios of sums over problems: one column a figure, one row a problem, under its digest."""

    numerators_PF: pd.DataFrame
    denominators_PF: pd.DataFrame

    def select(self, figures: Sequence[str], problems: Sequence[str] | pd.Index) -> tuple[np.ndarray, np.ndarray]:
        """(numerators, denominators) of some figures over some problems, in the orders given."""
        numerators_PF, denominators_PF = (
            np.ascontiguousarray(sums_PF.loc[problems, figures], dtype=float) for sums_PF in self
        )
        return numerators_PF, denominators_PF

    def reflection_counts(self) -> dict[str, dict[str, int]]:
        """The 2x2 table behind the readings of DSR and ERR, as in `ReflectionReport.counts`."""
        counts = {}
        for kind, name in (("no_reflection", "dsr"), ("reflection", "err")):
            correct, responses = (int(sums_PF[name].sum()) for sums_PF in self)
            counts[kind] = {"correct": correct, "wrong": responses - correct}
        return counts


@dataclass(frozen=True)
class StepReport:
    """Figures with their intervals."""

    problems: int
    samples: int
    length_unit: str
    figures: dict[str, Estimate]
    reflection_counts: dict[str, dict[str, int]]
    """Responses by reflection and correctness."""


class Reported(NamedTuple):
    """The report of a run's step, and what it was made from."""

    run: str
    step: int
    report: StepReport
    source: dict[str, Any]
    """`file`, `sha256`, and `fields`: which field each figure was read from."""
    ratios: Ratios


def label(name: str) -> str:
    """A figure's name in tables."""
    return LABELS.get(name) or name.replace("pass@", "Pass@")


def step_report(
    samples: pd.DataFrame, dump: Dump, response_limit: int | None, resampling: Mapping[str, int]
) -> tuple[StepReport, Ratios, list[str]]:
    """All figures of the samples, the sums behind them, and what must be said about them.

    Args:
        samples: one benchmark of the dump.
        response_limit: tokens at which a response was cut off, where that is known.
        resampling: `resamples` and `seed` of the intervals.
    """
    notes = []
    length_unit = dump.fields["length unit"]
    if "truncated" not in samples and response_limit is not None and length_unit == "tokens":
        # Where the dump does not tell, token counts do, which can only miss some.
        samples = samples.assign(truncated=samples["length"] >= response_limit)
        notes.append(f"truncated = at least {response_limit} tokens after re-encoding the text; may miss some")
    ratios, unknown = ratios_of(samples, dump.problems)
    notes += unknown
    problems = len(ratios.numerators_PF)
    if problems < FEW_PROBLEMS:
        notes.append(f"intervals from {problems} problems are too narrow to rely on")
    figures = list(ratios.numerators_PF)
    numerators_PF, denominators_PF = ratios.select(figures, ratios.numerators_PF.index)
    values = estimates(numerators_PF, denominators_PF, **resampling)
    estimated = dict(zip(figures, values, strict=True))
    return StepReport(problems, len(samples), length_unit, estimated, ratios.reflection_counts()), ratios, notes


def ratios_of(samples: pd.DataFrame, digests: Sequence[str]) -> tuple[Ratios, list[str]]:
    """All figures that the samples can tell, and notes on those that they cannot.

    Means give every problem the same weight, however many samples it has. The readings of DSR and ERR pool responses,
    so that they are ratios of the counts beside them; so does the share of faithful ones among the correct.

    Args:
        digests: of each problem, by its number in the samples.
    """
    notes: list[str] = []
    counted = samples.assign(samples=1, reflecting_correct=samples["reflects"] & samples["correct"])
    sums = counted.groupby("problem", sort=False).sum()
    n_P, means = sums["samples"], sums.div(sums["samples"], axis=0)
    columns: dict[str, Any] = {"accuracy": means["correct"]}
    counts = list(zip(n_P.tolist(), sums["correct"].tolist(), strict=True))
    for k in _usable_ks(n_P, notes):
        chances = {(n, c): pass_at_k(n, c, k) for n, c in set(counts)}
        columns[f"pass@{k}"] = [chances[pair] for pair in counts]
    if "answer" in samples:
        columns["majority"] = majority_votes(samples)
    else:
        notes.append("majority vote unknown: the dump has neither `pred` nor answers in \\boxed{}")
    rates, responses = _readings(sums)
    columns |= {**rates, "reflections": means["reflects"], "length": means["length"]}
    for name in ("needless_reflection", "truncated", "unparsable"):
        if name in samples:
            columns[name] = means[name]
        elif name not in IF_DUMPED:
            notes.append(f"{label(name)} unknown: the dump does not tell for every row")
    if "faithful" in samples:
        faithful = (counted["faithful"] * counted["correct"]).groupby(counted["problem"], sort=False).sum()
        columns["faithful"], responses["faithful"] = faithful, sums["correct"]
    numerators_PF = pd.DataFrame(columns, dtype=float)
    denominators_PF = pd.DataFrame(1.0, index=numerators_PF.index, columns=numerators_PF.columns).assign(**responses)
    index = pd.Index([digests[number] for number in sums.index])
    return Ratios(numerators_PF.set_axis(index), denominators_PF.set_axis(index)), notes


def _readings(sums: pd.DataFrame) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """Numerators and denominators of `READINGS`, responses a problem."""
    reflected, direct = sums["reflecting_correct"], sums["correct"] - sums["reflecting_correct"]
    cells_P = {
        ("no_reflection", "correct"): direct,
        ("no_reflection", "wrong"): sums["samples"] - sums["reflects"] - direct,
        ("reflection", "correct"): reflected,
        ("reflection", "wrong"): sums["reflects"] - reflected,
    }
    parts, wholes = ({name: sum(cells_P[c] for c in both[i]) for name, both in READINGS.items()} for i in (0, 1))
    return parts, wholes


def _usable_ks(n_P: pd.Series, notes: list[str]) -> list[int]:
    least, most = int(n_P.min()), int(n_P.max())
    if least != most:
        short = int((n_P < most).sum())
        notes.append(
            f"samples a problem differ: {least} to {most}; {short} of {len(n_P)} problems have fewer than {most}"
        )
    left_out = [k for k in KS if k > least]
    if left_out:
        names = ", ".join(f"Pass@{k}" for k in left_out)
        notes.append(f"{names} left out: needs as many samples of every problem, and one has {least}")
    return [k for k in KS if k <= least]


def majority_votes(samples: pd.DataFrame) -> pd.Series:
    """Expected correctness of the most frequent answer of each problem, by its number.

    Answers vote by their text (the dump's `pred`, else the last box), so two spellings of one number are two answers.
    Tied answers share equally, that is, the value is expected under a fair draw among them. An answer counts as
    correct in the share of its rows that were scored so. Unparsable answers do not vote; a problem without votes is
    wrong.
    """
    voting = samples.loc[samples["answer"] != UNKNOWN, ["problem", "answer", "correct"]]
    answers = voting.groupby(["problem", "answer"])["correct"].agg(["size", "mean"])
    most = answers.groupby("problem")["size"].transform("max")
    votes = answers.loc[answers["size"] == most, "mean"].groupby("problem").mean()
    return votes.reindex(samples["problem"].unique(), fill_value=0.0)
