"""What the construction stage knows of each query, and its form in parquet."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa

from tapo.files.part_store import PartStore

KEPT = "kept"
INELIGIBLE = "ineligible"

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("index", pa.string()),
        ("data_source", pa.string()),
        ("prompt", MESSAGES),
        ("outcome", pa.string()),
        ("rejected", pa.list_(pa.string())),
        ("request", MESSAGES),
        ("answer", pa.string()),
        ("prefix", pa.string()),
        ("reflection", pa.string()),
        ("correction", pa.string()),
        ("prefix_tokens", pa.int32()),
        ("wrong_tokens", pa.int32()),
        ("tokens", pa.int32()),
        ("plain", pa.string()),
    ]
)


@dataclass(frozen=True)
class Record:
    """One query after construction; texts are empty and counts 0 where nothing was kept."""

    index: str
    data_source: str
    prompt: list[dict[str, str]]
    outcome: str
    """`kept`, `ineligible`, or the reason for which the last attempt was rejected."""
    rejected: list[str] = field(default_factory=list)
    """Reasons of the attempts that were rejected, in their order."""
    request: list[dict[str, str]] = field(default_factory=list)
    """The construction prompt whose answer was kept."""
    answer: str = ""
    prefix: str = ""
    reflection: str = ""
    correction: str = ""
    prefix_tokens: int = 0
    wrong_tokens: int = 0
    tokens: int = 0
    plain: str = ""
    """One complete correct response of the query; empty if there is none."""

    @property
    def size(self) -> int:
        """Characters that dominate its size in memory."""
        texts = (self.answer, self.prefix, self.reflection, self.correction, self.plain)
        return sum(map(len, texts)) + sum(len(message["content"]) for message in [*self.prompt, *self.request])

    @property
    def trajectory(self) -> str:
        """The micro-reflective trajectory: the response that is trained."""
        return self.prefix + self.reflection + self.correction


assert [item.name for item in fields(Record)] == SCHEMA.names


class ConstructionStore(PartStore[Record]):
    """Records of the construction stage."""

    what = "constructions"
    schema = SCHEMA
    row = Record

    @staticmethod
    def to_table(rows: Sequence[Record]) -> pa.Table:
        """See `PartStore`."""
        return pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)

    @staticmethod
    def from_table(table: pa.Table) -> Iterator[dict[str, Any]]:
        """See `PartStore`."""
        yield from table.to_pylist()
