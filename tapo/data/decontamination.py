"""Which training queries are evaluation problems in disguise."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.data.options import DecontaminateOptions, OverlapOptions
from tapo.data.queries import QueryFiles, copy_queries, require_file
from tapo.data.query import Query
from tapo.data.text import tokens_of
from tapo.files.atomic import write_text_atomically
from tapo.files.fingerprint import fingerprint_of_file
from tapo.files.markers import is_complete, print_counts, report_of, stage
from tapo.terminal import say

Gram = tuple[str, ...]


@dataclass(frozen=True)
class ClosestProblem:
    """The evaluation problem that a training query is closest to."""

    evaluation_index: str
    kind: str
    """`equal`: the same normalised text; `ngram`: an overlap of at least `overlap`."""
    overlap: float
    """Share of the evaluation problem's distinct n-grams that the training query contains."""
    evaluation_question: str

    def record(self, index: str, question: str) -> dict[str, Any]:
        """One line of the report."""
        return {"index": index, "question": question} | asdict(self) | {"overlap": round(self.overlap, 4)}


class Decontaminator:
    """An inverted index of the n-grams of evaluation problems.

    Args:
        options: a problem of fewer tokens than `ngram` is one n-gram as a whole.
        files: verl parquet files of evaluation problems, each of which may be there many times; see `QueryFiles`.
    """

    def __init__(self, options: OverlapOptions | None = None, files: Sequence[Path] = ()):
        self._options = options or OverlapOptions()
        self._problems: list[tuple[str, str, int]] = []  # index, question, and its distinct n-grams
        self._by_gram: dict[Gram, list[int]] = defaultdict(list)
        self._by_text: dict[Gram, int] = {}
        self._lengths: set[int] = set()
        for file in files:
            for query in QueryFiles(file, strict=True):
                if tuple(tokens_of(query.question)) not in self._by_text:
                    self.add(query.index, query.question)

    def __len__(self) -> int:
        """Evaluation problems."""
        return len(self._problems)

    def add(self, index: str, question: str) -> None:
        """Index one evaluation problem; ValueError if it has no words, so that nothing could ever match it."""
        tokens = tuple(tokens_of(question))
        if not tokens:
            raise ValueError(f"evaluation problem {index}: question = {question!r} cannot work: needs words")
        length = min(self._options.ngram, len(tokens))
        grams = set(_grams(tokens, length))
        number = len(self._problems)
        self._problems.append((index, question, len(grams)))
        self._lengths.add(length)
        self._by_text.setdefault(tokens, number)
        for gram in grams:
            self._by_gram[gram].append(number)

    def match(self, question: str) -> ClosestProblem | None:
        """The evaluation problem that a question contains most of, if it reaches the overlap."""
        if not self._problems:
            return None
        tokens = tuple(tokens_of(question))
        if tokens in self._by_text:
            return self._closest(self._by_text[tokens], "equal", 1.0)
        shared: Counter[int] = Counter()
        for length in self._lengths:
            for gram in self._by_gram.keys() & set(_grams(tokens, length)):
                shared.update(self._by_gram[gram])
        overlaps = [(count / self._problems[number][2], -number) for number, count in shared.items()]
        overlap, number = max(overlaps, default=(0.0, 0))
        return self._closest(-number, "ngram", overlap) if overlap >= self._options.overlap else None

    def _closest(self, number: int, kind: str, overlap: float) -> ClosestProblem:
        index, question, _ = self._problems[number]
        return ClosestProblem(index, kind, overlap, question)


def _grams(tokens: Gram, length: int) -> Iterator[Gram]:
    return zip(*(tokens[start:] for start in range(length)), strict=False)


def contaminated_file(out: Path) -> Path:
    """Where the report of the decontamination of a file stands."""
    return out.with_name(f"{out.name}.contaminated.jsonl")


def write_report(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """One JSON line a dropped query."""
    write_text_atomically(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def decontaminate(train: Path, index: Decontaminator, out: Path, report: Path) -> tuple[int, int]:
    """Copy the rows of a verl parquet file that match no evaluation problem, as `copy_queries` does, and list those
    that do; return how many rows were kept and dropped."""
    records: list[dict[str, Any]] = []

    def keep(query: Query) -> bool:
        if match := index.match(query.question):
            records.append(match.record(query.index, query.question))
        return match is None

    kept = copy_queries(QueryFiles(train, strict=True), out, keep)
    write_report(report, records)
    return kept, len(records)


def run_decontaminate(options: DecontaminateOptions, console: Console) -> None:
    """Write the training queries that match none of the evaluation problems, and a list of those that do."""
    out, listed = options.out, options.report or contaminated_file(options.out)
    facts = {
        "stage": "decontaminate",
        "train": fingerprint_of_file(require_file(options.train)),
        "against": [fingerprint_of_file(require_file(path)) for path in options.against],
        **options.part(OverlapOptions),
        "report": str(listed),
    }
    if not is_complete(out, facts, console):
        with stage(out, facts) as report:
            kept, dropped = decontaminate(options.train, Decontaminator(options, options.against), out, listed)
            report |= {"kept": kept, "dropped": {"evaluation problem": dropped}}
    print_counts(out, report_of(out), console)
    say(f"evaluation problems found are listed in {listed}", console)
