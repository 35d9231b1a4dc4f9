"""Which training queries are evaluation problems in disguise."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapo.data.queries import QueryFiles, copy_queries
from tapo.data.query import Query
from tapo.data.text import tokens_of
from tapo.files.atomic import write_text_atomically

NGRAM = 8
"""Tokens of an n-gram. Phrases that any two contest problems may share ("the number of ordered pairs of positive
integers") are about as long, so that a shared phrase costs a problem one or two n-grams."""
THRESHOLD = 0.5
"""Share of an evaluation problem's n-grams that a training query has to contain: a copy with a reworded sentence or a
changed number keeps more than half of them, a problem of the same kind a few."""

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """The evaluation problem that a training query is closest to."""

    evaluation_index: str
    kind: str
    """`equal`: the same normalised text; `ngram`: an overlap of at least the threshold."""
    overlap: float
    """Share of the evaluation problem's distinct n-grams that the training query contains."""
    evaluation_question: str

    def record(self, index: str, question: str) -> dict[str, Any]:
        """One line of the report."""
        return {
            "index": index,
            "evaluation_index": self.evaluation_index,
            "kind": self.kind,
            "overlap": round(self.overlap, 4),
            "question": question,
            "evaluation_question": self.evaluation_question,
        }


class Decontaminator:
    """An inverted index of the n-grams of evaluation problems.

    Args:
        ngram: tokens of an n-gram; a problem of fewer tokens is one n-gram as a whole.
        threshold: least overlap of a match, in (0, 1].

    Raises:
        ValueError: an option out of range.
    """

    def __init__(self, ngram: int = NGRAM, threshold: float = THRESHOLD):
        if ngram < 1:
            raise ValueError(f"ngram = {ngram!r} cannot work: needs a number of tokens >= 1")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold = {threshold!r} cannot work: needs a share in (0, 1]")
        self.ngram, self.threshold = ngram, threshold
        self._problems: list[tuple[str, str]] = []
        self._gram_counts: list[int] = []
        self._by_gram: dict[Gram, list[int]] = defaultdict(list)
        self._by_text: dict[Gram, int] = {}
        self._lengths: set[int] = set()

    def add_file(self, path: str | Path) -> None:
        """Index the problems of a verl parquet file, which may hold each of them many times.

        Raises:
            ValueError: the file cannot be read.
        """
        for query in QueryFiles(path, strict=True):
            if tuple(tokens_of(query.question)) not in self._by_text:
                self.add(query.index, query.question)

    def __len__(self) -> int:
        """Evaluation problems."""
        return len(self._problems)

    def add(self, index: str, question: str) -> None:
        """Index one evaluation problem.

        Raises:
            ValueError: it has no words, so that nothing could ever match it.
        """
        tokens = tuple(tokens_of(question))
        if not tokens:
            raise ValueError(f"evaluation problem {index}: question = {question!r} cannot work: needs words")
        length = min(self.ngram, len(tokens))
        grams = set(_grams(tokens, length))
        number = len(self._problems)
        self._problems.append((index, question))
        self._gram_counts.append(len(grams))
        self._lengths.add(length)
        self._by_text.setdefault(tokens, number)
        for gram in grams:
            self._by_gram[gram].append(number)

    def match(self, question: str) -> Match | None:
        """The evaluation problem that a question contains most of, if it reaches the threshold."""
        tokens = tuple(tokens_of(question))
        if tokens in self._by_text:
            return self._match(self._by_text[tokens], "equal", 1.0)
        shared: Counter[int] = Counter()
        for length in self._lengths:
            for gram in self._by_gram.keys() & set(_grams(tokens, length)):
                shared.update(self._by_gram[gram])
        overlaps = [(count / self._gram_counts[number], -number) for number, count in shared.items()]
        overlap, number = max(overlaps, default=(0.0, 0))
        return self._match(-number, "ngram", overlap) if overlap >= self.threshold else None

    def _match(self, number: int, kind: str, overlap: float) -> Match:
        index, question = self._problems[number]
        return Match(index, kind, overlap, question)


def _grams(tokens: Gram, length: int) -> Iterator[Gram]:
    return zip(*(tokens[start:] for start in range(length)), strict=False)


def write_report(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """One JSON line a dropped query."""
    write_text_atomically(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def decontaminate(train: Path, index: Decontaminator, out: Path, report: Path) -> tuple[int, int]:
    """Copy the rows of a verl parquet file that match no evaluation problem, and list those that do.

    Returns:
        Rows kept and rows dropped.

    Raises:
        ValueError: a file that cannot be read, or nothing is kept.
        OSError: a full disk, for one; an earlier file is as it was.
    """
    records: list[dict[str, Any]] = []

    def keep(query: Query) -> bool:
        match = index.match(query.question)
        if match:
            records.append(match.record(query.index, query.question))
        return match is None

    kept = copy_queries(QueryFiles(train, strict=True), out, keep)
    write_report(report, records)
    return kept, len(records)
