"""From rows of problems to a verl parquet file."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tapo.data.answers import UnusableAnswer, ground_truth_of
from tapo.data.decontamination import Decontaminator
from tapo.data.instruction import BOXED_INSTRUCTION, METADATA_KEY, prompt_of
from tapo.data.problems import Row, require_columns
from tapo.data.queries import BATCH_ROWS
from tapo.data.query import stable_index
from tapo.data.text import normalise
from tapo.files.atomic import atomic_path

NO_QUESTION = "no question"
DUPLICATE = "duplicate question"
CONFLICT = "duplicate question, other answer"
CONTAMINATED = "evaluation problem"

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("index", pa.string()), ("split", pa.string())])),
    ]
)
"""What verl's RL dataset reads."""


@dataclass(frozen=True)
class Columns:
    """Where a row keeps what we need."""

    question: str
    answer: str
    index: str | None = None
    """Column of the user's own ids; None derives them from the questions."""

    def names(self) -> list[str]:
        """Those that have to be there."""
        return [name for name in (self.question, self.answer, self.index) if name is not None]


@dataclass
class Preparation:
    """Makes rows of verl's out of rows of a dataset; counts and keeps what it drops.

    A question that is there already, but for typesetting, is dropped, so that no problem is sampled twice and every
    index is unique.
    """

    data_source: str
    split: str
    columns: Columns
    check_answer: Callable[[str], None] = lambda answer: None
    """Raises `UnusableAnswer` for a ground truth that is not good enough."""
    decontaminator: Decontaminator | None = None
    instruction: str = BOXED_INSTRUCTION
    """Follows every question; empty for none."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows by reason."""
    contaminated: list[dict[str, Any]] = field(default_factory=list)
    """The report of the decontamination."""
    on_drop: Callable[[str, Row], None] = lambda reason, row: None
    """Told of every dropped row."""
    _answers: dict[bytes, str] = field(default_factory=dict)
    _indices: set[str] = field(default_factory=set)

    def rows(self, source: Iterable[Row]) -> Iterator[Row]:
        """The usable rows of a source in verl's format.

        Raises:
            ValueError: an id of the user's own that is missing or there twice.
        """
        for row in source:
            try:
                yield self._row(row)
            except _Dropped as error:
                reason = str(error)
                self.dropped[reason] += 1
                self.on_drop(reason, row)

    def _row(self, row: Row) -> Row:
        question = row.get(self.columns.question)
        if not isinstance(question, str) or not normalise(question):
            raise _Dropped(NO_QUESTION)
        question = question.strip()
        try:
            answer = ground_truth_of(row.get(self.columns.answer))
            self.check_answer(answer)
        except UnusableAnswer as error:
            raise _Dropped(str(error)) from error
        self._refuse_duplicate(question, answer)
        index = self._index(row, question)
        self._refuse_contaminated(index, question)
        return {
            "data_source": self.data_source,
            "prompt": prompt_of(question, self.instruction),
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": answer},
            "extra_info": {"index": index, "split": self.split},
        }

    def _refuse_duplicate(self, question: str, answer: str) -> None:
        key = hashlib.sha256(normalise(question).encode()).digest()
        if key in self._answers:
            raise _Dropped(DUPLICATE if self._answers[key] == answer else CONFLICT)
        self._answers[key] = answer

    def _index(self, row: Row, question: str) -> str:
        if self.columns.index is None:
            return stable_index(self.data_source, question)
        value = row.get(self.columns.index)
        index = f"{self.data_source}/{value}"
        if value is None or value == "" or index in self._indices:
            column = self.columns.index
            raise ValueError(f"column {column!r} = {value!r} cannot work as an index: needs unique values in every row")
        self._indices.add(index)
        return index

    def _refuse_contaminated(self, index: str, question: str) -> None:
        match = self.decontaminator and self.decontaminator.match(question)
        if match:
            self.contaminated.append(match.record(index, question))
            raise _Dropped(CONTAMINATED)


class _Dropped(Exception):
    """A row that is not used, and why."""


def write_rows(preparation: Preparation, source: Iterable[Row], name: str, out: Path, limit: int | None = None) -> int:
    """Write the usable rows of a source, the first `limit` of them, as one parquet file; return how many.

    Raises:
        ValueError: no row at all, none that is usable, or a column that is not there; nothing is written then.
        OSError: a full disk, for one; an earlier file is as it was.
    """
    first_row_checked = _checked(source, preparation.columns.names(), name)
    count = 0
    own = preparation.instruction != BOXED_INSTRUCTION
    schema = SCHEMA.with_metadata({METADATA_KEY: preparation.instruction}) if own else SCHEMA
    with atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in _batches(preparation.rows(first_row_checked), limit):
            writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
            count += len(batch)
        if count == 0:
            reasons = ", ".join(f"{reason} {number}" for reason, number in preparation.dropped.most_common())
            raise ValueError(f"{name} has no usable problem: " + (reasons or "it holds no rows"))
    return count


def _checked(source: Iterable[Row], columns: list[str], name: str) -> Iterator[Row]:
    for number, row in enumerate(source):
        if number == 0:
            require_columns(row, columns, name)
        yield row


def _batches(rows: Iterator[Row], limit: int | None) -> Iterator[list[Row]]:
    batch: list[Row] = []
    left = limit
    while left is None or left > 0:
        row = next(rows, None)
        if row is None:
            break
        batch.append(row)
        left = None if left is None else left - 1
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
