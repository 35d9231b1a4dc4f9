"""The figures of a report as sums over problems, ready for resampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapo.evaluation.pass_at_k import pass_at_k_of_problems
from tapo.evaluation.samples import UNKNOWN, Samples

KS = (1, 2, 4, 5, 8, 16)

LABELS = {
    "accuracy": "mean accuracy",
    "majority": "majority vote",
    "dsr": "DSR: P(correct | no reflection)",
    "err": "ERR: P(correct | reflection)",
    "reflections": "responses with a reflection",
    "length": "response length",
    "truncated": "truncated",
    "unparsable": "unparsable answers",
}
"""Key in the JSON report -> name in tables; Pass@k comes behind the accuracy as `pass@K`."""


@dataclass(frozen=True)
class Ratios:
    """Ratios of sums over problems, one column a figure."""

    names: tuple[str, ...]
    numerators_PF: np.ndarray
    denominators_PF: np.ndarray

    def select(self, names: Sequence[str], problems: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(numerators, denominators) of some figures over some problems, in the orders given."""
        columns = [self.names.index(name) for name in names]
        return self.numerators_PF[np.ix_(problems, columns)], self.denominators_PF[np.ix_(problems, columns)]

    def reflection_counts(self) -> dict[str, dict[str, int]]:
        """The 2x2 table behind DSR and ERR, as in `ReflectionReport.counts`."""
        counts = {}
        for kind, name in (("no_reflection", "dsr"), ("reflection", "err")):
            column = self.names.index(name)
            correct = int(self.numerators_PF[:, column].sum())
            counts[kind] = {"correct": correct, "wrong": int(self.denominators_PF[:, column].sum()) - correct}
        return counts


def label(name: str) -> str:
    """A figure's name in tables."""
    return LABELS.get(name) or name.replace("pass@", "Pass@")


def ratios_of(samples: Samples) -> tuple[Ratios, list[str]]:
    """All figures that the samples can tell, and notes on those that they cannot.

    Means give every problem the same weight, however many samples it has. DSR and ERR pool responses, so that they are
    the ratios of the counts beside them.
    """
    notes: list[str] = []
    n_P = samples.per_problem()
    correct_P = samples.per_problem(samples.correct)
    ones_P = np.ones(len(n_P))
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {"accuracy": (correct_P / n_P, ones_P)}
    for k in _usable_ks(n_P, notes):
        columns[f"pass@{k}"] = (pass_at_k_of_problems(n_P, correct_P, k), ones_P)
    if samples.answer is None:
        notes.append("majority vote unknown: the dump has neither `pred` nor answers in \\boxed{}")
    else:
        columns["majority"] = (majority_votes(samples), ones_P)
    reflecting_P = samples.per_problem(samples.reflects)
    reflecting_correct_P = samples.per_problem(samples.reflects & samples.correct)
    columns["dsr"] = (correct_P - reflecting_correct_P, n_P - reflecting_P)
    columns["err"] = (reflecting_correct_P, reflecting_P)
    columns["reflections"] = (reflecting_P / n_P, ones_P)
    columns["length"] = (samples.per_problem(samples.length) / n_P, ones_P)
    for name, flags in (("truncated", samples.truncated), ("unparsable", samples.unparsable)):
        if flags is None:
            notes.append(f"{label(name)} unknown: the dump does not tell for every row")
        else:
            columns[name] = (samples.per_problem(flags) / n_P, ones_P)
    numerators, denominators = zip(*columns.values(), strict=True)
    return Ratios(tuple(columns), np.column_stack(numerators), np.column_stack(denominators)), notes


def _usable_ks(n_P: np.ndarray, notes: list[str]) -> list[int]:
    least, most = int(n_P.min()), int(n_P.max())
    if least != most:
        short = int(np.sum(n_P < most))
        notes.append(
            f"samples a problem differ: {least} to {most}; {short} of {len(n_P)} problems have fewer than {most}"
        )
    left_out = [k for k in KS if k > least]
    if left_out:
        names = ", ".join(f"Pass@{k}" for k in left_out)
        notes.append(f"{names} left out: needs as many samples of every problem, and one has {least}")
    return [k for k in KS if k <= least]


def majority_votes(samples: Samples) -> np.ndarray:
    """Expected correctness of the most frequent answer of each problem; float64 [P].

    Answers vote by their text (the dump's `pred`, else the last box), so two spellings of one number are two answers.
    Tied answers share equally, that is, the value is expected under a fair draw among them. An answer counts as
    correct in the share of its rows that were scored so. Unparsable answers do not vote; a problem without votes is
    wrong.
    """
    assert samples.answer is not None
    votes_P = np.zeros(len(samples.keys))
    voting = samples.answer != UNKNOWN
    if not voting.any():
        return votes_P
    spread = int(samples.answer.max()) + 1
    pairs = samples.problem[voting].astype(np.int64) * spread + samples.answer[voting]
    answers, answer_of_row, rows = np.unique(pairs, return_inverse=True, return_counts=True)
    correct = np.bincount(answer_of_row, weights=samples.correct[voting].astype(float)) / rows
    problem = answers // spread
    most_P: np.ndarray = np.zeros(len(samples.keys), dtype=np.int64)
    np.maximum.at(most_P, problem, rows)
    top = rows == most_P[problem]
    shares = np.bincount(problem[top], minlength=len(votes_P)).astype(float)
    sums = np.bincount(problem[top], weights=correct[top], minlength=len(votes_P))
    return np.divide(sums, shares, out=votes_P, where=shares > 0)
