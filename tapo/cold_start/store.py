"""What the construction stage knows of each query, and its form in parquet."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tapo.core.funnel import TRAINED
from tapo.data.rollout_store import MESSAGES
from tapo.files.part_store import PartStore
from tapo.records import ConstructionRecord

KEPT = "kept"
INELIGIBLE = "ineligible"

_TYPES = {
    **dict.fromkeys(("step", "wrong_session", "correct_session", "prefix_length"), pa.int32()),
    **dict.fromkeys(("answer_tokens", "prompt_tokens", "placed_tokens", "wrong_tokens", "tokens"), pa.int32()),
    **dict.fromkeys(("wrong_reward", "reward"), pa.float64()),
    **dict.fromkeys(("is_correct", "has_reflection", "own"), pa.bool_()),
    "reached": pa.list_(pa.string()),
}
ADDED = {"check", "prompt_tokens", "placed_tokens", "anchor", "own"}
"""Fields that earlier stores lack."""
IDS = {"ids", "wrong_ids", "token_lengths"}
"""Fields that a cold start does not keep: its trajectories are learned as text."""


def _attempt(*, without: Collection[str] = ()) -> pa.DataType:
    names = (name for name in ConstructionRecord.model_fields if name not in IDS and name not in without)
    return pa.struct([(name, _TYPES.get(name, pa.string())) for name in names])


class QueryConstructions(BaseModel):
    """One query after construction."""

    model_config = ConfigDict(frozen=True)

    index: str
    data_source: str
    prompt: list[dict[str, str]]
    outcome: str
    """`kept`, `ineligible`, or the reason for which the last attempt was rejected."""
    plain: str = ""
    """One complete correct response of the query; empty if there is none."""
    attempts: list[ConstructionRecord] = []
    """In their order; the last one is the one that was kept, if any."""

    @property
    def kept(self) -> ConstructionRecord | None:
        """The attempt that is trained."""
        return self.attempts[-1] if self.outcome == KEPT else None


def _schema(attempt: pa.DataType) -> pa.Schema:
    columns = {"prompt": MESSAGES, "attempts": pa.list_(attempt)}
    return pa.schema([(name, columns.get(name, pa.string())) for name in QueryConstructions.model_fields])


SCHEMA = _schema(_attempt())


def outcome_of(attempts: Sequence[ConstructionRecord]) -> str:
    """See `QueryConstructions.outcome`."""
    if not attempts:
        return INELIGIBLE
    return KEPT if attempts[-1].outcome == TRAINED else attempts[-1].outcome


class ConstructionStore(PartStore[QueryConstructions]):
    """Queries of the construction stage."""

    what = "constructions"
    schema = SCHEMA
    earlier = (_schema(_attempt(without=ADDED)),)
    row = QueryConstructions

    @staticmethod
    def to_table(rows: Sequence[QueryConstructions]) -> pa.Table:
        """See `PartStore`."""
        plain = [row.model_dump(exclude={"attempts": {"__all__": IDS}}) for row in rows]
        return pa.Table.from_pylist(plain, schema=SCHEMA)


class StoredAttempts:
    """The attempts of a store, as `RecordReader` gives those of a run. Places are (query, attempt) numbers."""

    def __init__(self, store: ConstructionStore):
        self._store = store
        self._rows: Iterator[QueryConstructions] = iter(())
        self._read = 0
        self._row: QueryConstructions | None = None
        self.unfinished: list[Any] = []

    def placed(self) -> Iterator[tuple[tuple[int, int], ConstructionRecord]]:
        """Every attempt with its place."""
        for number, row in enumerate(self._store):
            for attempt, record in enumerate(row.attempts):
                yield (number, attempt), record

    def load(self, place: tuple[int, int]) -> ConstructionRecord:
        """The attempt at a place; cheap for places in ascending order."""
        number, attempt = place
        if number < self._read - 1 or self._row is None:
            self._rows, self._read = iter(self._store), 0
        while self._read <= number:
            self._row, self._read = next(self._rows), self._read + 1
        assert self._row is not None
        return self._row.attempts[attempt]
