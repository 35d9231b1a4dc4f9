"""From rows of problems to a verl parquet file."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from tapo.data.answers import check_readable, ground_truth_of
from tapo.data.decontamination import Decontaminator, contaminated_file, write_report
from tapo.data.options import PrepareOptions
from tapo.data.problems import Problem, fingerprint_of_source, iter_problems
from tapo.data.queries import BATCH_ROWS, require_file
from tapo.data.query import UnusableRow, stable_index
from tapo.data.rollout_store import MESSAGES
from tapo.data.text import BOXED_INSTRUCTION, METADATA_KEY, canonical_text, prompt_of
from tapo.files.atomic import atomic_path
from tapo.files.fingerprint import fingerprint_of_file
from tapo.files.markers import is_complete, print_counts, report_of, stage

NO_QUESTION = "no question"
DUPLICATE = "duplicate question"
CONFLICT = "duplicate question, other answer"
CONTAMINATED = "evaluation problem"

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", MESSAGES),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("index", pa.string()), ("split", pa.string())])),
    ]
)
"""What verl's RL dataset reads."""


class Preparation:
    """Makes rows of verl's out of rows of a dataset; counts, shows and keeps what it drops.

    A question that is there already, but for typesetting, is dropped, so that no problem is sampled twice and every
    index is unique.

    Attributes:
        dropped: rows by reason.
        contaminated: the report of the decontamination.
    """

    def __init__(self, options: PrepareOptions, console: Console):
        self.options, self._console = options, console
        self.dropped: Counter[str] = Counter()
        self.contaminated: list[dict[str, Any]] = []
        self._decontaminator = Decontaminator(options, options.against)
        self._answers: dict[str, str] = {}
        self._indices: set[str] = set()

    def rows(self, source: Iterable[Problem]) -> Iterator[dict[str, Any]]:
        """The usable rows of a source in verl's format; ValueError if a column is not there, or an id of the user's own
        is missing or there twice."""
        for number, row in enumerate(source):
            if number == 0:
                self._check_columns(row)
            try:
                yield self._row(row)
            except UnusableRow as reason:
                self.dropped[str(reason)] += 1
                if self.dropped.total() <= self.options.show_dropped:
                    said = f"dropped ({reason}): {row}"
                    self._console.print(said, markup=False, highlight=False, overflow="ellipsis", no_wrap=True)

    def _check_columns(self, row: Problem) -> None:
        options = self.options
        for name in (options.question_column, options.answer_column, options.index_column):
            if name is None or name in row:
                continue
            if {"prompt", "reward_model"} <= row.keys():
                raise ValueError(
                    f"{options.source} has no column {name!r}, but is a verl parquet file: there is nothing to "
                    "prepare, `tapo rollout` takes it as it is (PARQUET of run_scripts/cold_start.sh)"
                )
            raise ValueError(
                f"{options.source} has no column {name!r}: its columns are {', '.join(map(str, row))}; name yours with "
                "--question-column, --answer-column or --index-column"
            )

    def _row(self, row: Problem) -> dict[str, Any]:
        question = row.get(self.options.question_column)
        if not isinstance(question, str) or not canonical_text(question):
            raise UnusableRow(NO_QUESTION)
        question = question.strip()
        answer = ground_truth_of(row.get(self.options.answer_column))
        if self.options.check_answers:
            check_readable(answer)
        index = stable_index(str(self.options.data_source), question)
        if index in self._answers:
            raise UnusableRow(DUPLICATE if self._answers[index] == answer else CONFLICT)
        self._answers[index] = answer
        if self.options.index_column is not None:
            index = self._own_index(row.get(self.options.index_column))
        if match := self._decontaminator.match(question):
            self.contaminated.append(match.record(index, question))
            raise UnusableRow(CONTAMINATED)
        return {
            "data_source": self.options.data_source,
            "prompt": prompt_of(question, self.options.instruction),
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": answer},
            "extra_info": {"index": index, "split": self.options.split_name},
        }

    def _own_index(self, value: Any) -> str:
        index = f"{self.options.data_source}/{value}"
        if value is None or value == "" or index in self._indices:
            column = self.options.index_column
            raise ValueError(f"column {column!r} = {value!r} cannot work as an index: needs unique values in every row")
        self._indices.add(index)
        return index


def write_rows(preparation: Preparation, source: Iterable[Problem]) -> int:
    """Write the usable rows of a source, as many as wanted, as one parquet file; return how many. ValueError, with
    nothing written, if there is no row, none is usable, or a column is not there."""
    options, count = preparation.options, 0
    own = options.instruction != BOXED_INSTRUCTION
    schema = SCHEMA.with_metadata({METADATA_KEY: options.instruction}) if own else SCHEMA
    with atomic_path(options.out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        rows = itertools.islice(preparation.rows(source), options.limit)
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
            count += len(batch)
        if count == 0:
            reasons = ", ".join(f"{reason} {number}" for reason, number in preparation.dropped.most_common())
            raise ValueError(f"{options.source} has no usable problem: " + (reasons or "it holds no rows"))
    return count


def run_prepare(options: PrepareOptions, console: Console) -> None:
    """Write a verl parquet file, and `OUT.contaminated.jsonl` where there are evaluation problems to stay clear of."""
    out, source = options.out, str(options.source)
    facts = {"stage": "prepare", "split_name": options.split_name} | options.part(PrepareOptions)
    facts |= {
        "source": fingerprint_of_source(source),
        "against": [fingerprint_of_file(require_file(path)) for path in options.against],
    }
    del facts["out"], facts["show_dropped"]
    if not is_complete(out, facts, console):
        preparation = Preparation(options, console)
        with stage(out, facts) as report:
            rows = iter_problems(source, split=options.split, subset=options.subset)
            report["kept"] = write_rows(preparation, rows)
            report["dropped"] = dict(preparation.dropped)
            if options.against:
                write_report(contaminated_file(out), preparation.contaminated)
    print_counts(out, report_of(out), console)
