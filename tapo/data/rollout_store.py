"""A query with its scored responses, and its form in parquet."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from tapo.data.options import RepairOptions
from tapo.files.part_store import PartStore
from tapo.terminal import say

FINISH_REASONS = ("stop", "length")

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""A chat."""
SCHEMA = pa.schema(
    {
        "index": pa.string(),
        "data_source": pa.string(),
        "prompt": MESSAGES,
        "ground_truth": pa.string(),
        "responses": pa.list_(pa.string()),
        "response_ids": pa.list_(pa.list_(pa.int32())),
        "finish_reasons": pa.list_(pa.string()),
        "scores": pa.list_(pa.float64()),
        "reward_inputs": pa.string(),  # not in stores that know ground truths as text alone
    }
)
"""One row a query."""


@dataclass(frozen=True)
class QueryRollouts:
    """K responses of one query.

    Raises:
        ValueError: no index, no response, lists of different lengths, a finish reason unknown to us, or a score that
            is no finite number.
    """

    index: str
    """Stable id of the query, unique in a store."""
    data_source: str
    prompt: Sequence[dict[str, str]]
    """Chat messages: `role` and `content`."""
    ground_truth: str
    """As text; as JSON where it is none."""
    responses: Sequence[str]
    response_ids: Sequence[Sequence[int]]
    """Token ids of each response as the engine sampled them."""
    finish_reasons: Sequence[str]
    """Of each response: `stop` or `length`."""
    scores: Sequence[float]
    reward_inputs: str | None = None
    """JSON of `ground_truth` and `extra_info` as the reward is given them; None where the truth is text and there is
    no more than the index."""

    def __post_init__(self) -> None:
        if not isinstance(self.index, str) or not self.index:
            raise ValueError(f"index = {self.index!r} cannot work: needs a non-empty text")
        lengths = {name: len(getattr(self, name)) for name in PER_RESPONSE}
        if set(lengths.values()) != {len(self.responses)} or not self.responses:
            raise ValueError(f"query {self.index}: lengths {lengths} cannot work: need one entry a response, 1 or more")
        for reason in self.finish_reasons:
            if reason not in FINISH_REASONS:
                allowed = ", ".join(FINISH_REASONS)
                raise ValueError(f"query {self.index}: finish reason {reason!r} cannot work: allowed are {allowed}")
        for score in self.scores:
            if not math.isfinite(score):
                raise ValueError(f"query {self.index}: score {score!r} cannot work: needs a finite number")

    @property
    def scoring(self) -> dict[str, Any]:
        """Arguments of `Scorer.score` for a response of this query, all but the response."""
        inputs = {"ground_truth": self.ground_truth, "extra_info": {"index": self.index}}
        if self.reward_inputs:
            inputs = json.loads(self.reward_inputs)
        return {"data_source": self.data_source, "index": self.index, **inputs}


PER_RESPONSE = ("responses", "response_ids", "finish_reasons", "scores")


class StoredIds(Sequence):
    """Ids of the responses of one query, lists that are made when they are asked for.

    As Python integers they take nine times the memory that they take in Arrow, and most readers want one response.
    """

    def __init__(self, responses: Sequence[np.ndarray]):
        self._responses = responses

    def __len__(self) -> int:
        return len(self._responses)

    def __getitem__(self, number: Any) -> Any:
        chosen = self._responses[number]
        return [ids.tolist() for ids in chosen] if isinstance(number, slice) else chosen.tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(map(list, other))


class RolloutStore(PartStore[QueryRollouts]):
    """Scored rollouts."""

    what = "rollouts"
    schema = SCHEMA
    earlier = (SCHEMA.remove(SCHEMA.get_field_index("reward_inputs")),)
    row = QueryRollouts

    @staticmethod
    def to_table(rows: Sequence[QueryRollouts]) -> pa.Table:
        """See `PartStore`."""
        columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
        # By way of numpy, ten times faster than from lists of integers.
        columns["response_ids"] = [[np.asarray(ids, np.int32) for ids in row.response_ids] for row in rows]
        return pa.table(columns, SCHEMA)

    @staticmethod
    def from_table(table: pa.Table) -> Iterator[dict[str, Any]]:
        """See `PartStore`."""
        columns = {name: table.column(name) for name in table.column_names}
        plain = {name: column.to_pylist() for name, column in columns.items() if name != "response_ids"}
        if "response_ids" in columns:
            # Copies, so that a query that is kept does not keep its row group.
            ids = columns["response_ids"].to_numpy()
            plain["response_ids"] = (StoredIds([each.copy() for each in query]) for query in ids)
        for values in zip(*plain.values(), strict=True):
            yield dict(zip(plain, values, strict=True))


def run_repair(options: RepairOptions, console: Console) -> None:
    """`tapo data repair`."""
    moved = RolloutStore.open(options.rollouts).repair()
    say(f"{len(moved)} damaged parts", console)
