"""From rows of problems to a verl parquet file."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from tapo.data.answers import UnusableAnswer, check_readable, ground_truth_of
from tapo.data.decontamination import Decontaminator, contaminated_file, write_report
from tapo.data.instruction import BOXED_INSTRUCTION, METADATA_KEY, prompt_of
from tapo.data.options import PrepareOptions
from tapo.data.problems import Problem, fingerprint_of_source, iter_problems, require_columns
from tapo.data.queries import BATCH_ROWS, require_file
from tapo.data.query import stable_index
from tapo.data.rollout_store import MESSAGES
from tapo.data.text import canonical_text
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


@dataclass
class Preparation:
    """Makes rows of verl's out of rows of a dataset; counts and keeps what it drops.

    A question that is there already, but for typesetting, is dropped, so that no problem is sampled twice and every
    index is unique.
    """

    options: PrepareOptions
    decontaminator: Decontaminator
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows by reason."""
    contaminated: list[dict[str, Any]] = field(default_factory=list)
    """The report of the decontamination."""
    on_drop: Callable[[str, Problem], None] = lambda reason, row: None
    """Told of every dropped row."""
    _answers: dict[bytes, str] = field(default_factory=dict)
    _indices: set[str] = field(default_factory=set)

    def rows(self, source: Iterable[Problem]) -> Iterator[dict[str, Any]]:
        """The usable rows of a source in verl's format.

        Raises:
            ValueError: an id of the user's own that is missing or there twice.
        """
        for row in source:
            try:
                yield self._row(row)
            except (_Dropped, UnusableAnswer) as error:
                reason = str(error)
                self.dropped[reason] += 1
                self.on_drop(reason, row)

    def _row(self, row: Problem) -> dict[str, Any]:
        question = row.get(self.options.question_column)
        if not isinstance(question, str) or not canonical_text(question):
            raise _Dropped(NO_QUESTION)
        question = question.strip()
        answer = ground_truth_of(row.get(self.options.answer_column))
        if self.options.check_answers:
            check_readable(answer)
        self._refuse_duplicate(question, answer)
        index = self._index(row, question)
        self._refuse_contaminated(index, question)
        return {
            "data_source": self.options.data_source,
            "prompt": prompt_of(question, self.options.instruction),
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": answer},
            "extra_info": {"index": index, "split": self.options.split_name},
        }

    def _refuse_duplicate(self, question: str, answer: str) -> None:
        key = hashlib.sha256(canonical_text(question).encode()).digest()
        if key in self._answers:
            raise _Dropped(DUPLICATE if self._answers[key] == answer else CONFLICT)
        self._answers[key] = answer

    def _index(self, row: Problem, question: str) -> str:
        column, source = self.options.index_column, str(self.options.data_source)
        if column is None:
            return stable_index(source, question)
        value = row.get(column)
        index = f"{source}/{value}"
        if value is None or value == "" or index in self._indices:
            raise ValueError(f"column {column!r} = {value!r} cannot work as an index: needs unique values in every row")
        self._indices.add(index)
        return index

    def _refuse_contaminated(self, index: str, question: str) -> None:
        match = self.decontaminator.match(question)
        if match:
            self.contaminated.append(match.record(index, question))
            raise _Dropped(CONTAMINATED)


class _Dropped(Exception):
    """A row that is not used, and why."""


def write_rows(preparation: Preparation, source: Iterable[Problem]) -> int:
    """Write the usable rows of a source, as many as wanted, as one parquet file; return how many.

    Raises:
        ValueError: no row at all, none that is usable, or a column that is not there; nothing is written then.
        OSError: a full disk, for one; an earlier file is as it was.
    """
    options, count = preparation.options, 0
    own = options.instruction != BOXED_INSTRUCTION
    schema = SCHEMA.with_metadata({METADATA_KEY: options.instruction}) if own else SCHEMA
    with atomic_path(options.out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        rows = itertools.islice(preparation.rows(_checked(source, options)), options.limit)
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
            count += len(batch)
        if count == 0:
            reasons = ", ".join(f"{reason} {number}" for reason, number in preparation.dropped.most_common())
            raise ValueError(f"{options.source} has no usable problem: " + (reasons or "it holds no rows"))
    return count


def _checked(source: Iterable[Problem], options: PrepareOptions) -> Iterator[Problem]:
    columns = [options.question_column, options.answer_column, options.index_column]
    for number, row in enumerate(source):
        if number == 0:
            require_columns(row, [name for name in columns if name is not None], str(options.source))
        yield row


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
        left = iter(range(options.show_dropped))

        def show(reason: str, row: Problem) -> None:
            if next(left, None) is not None:
                said = f"dropped ({reason}): {row}"
                console.print(said, markup=False, highlight=False, overflow="ellipsis", no_wrap=True)

        preparation = Preparation(options, Decontaminator(options, options.against), on_drop=show)
        with stage(out, facts) as report:
            rows = iter_problems(source, split=options.split, subset=options.subset)
            report["kept"] = write_rows(preparation, rows)
            report["dropped"] = dict(preparation.dropped)
            if options.against:
                write_report(contaminated_file(out), preparation.contaminated)
    print_counts(out, report_of(out), console)
