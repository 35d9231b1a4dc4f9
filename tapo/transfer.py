"""The one door to TransferQueue, where verl keeps the rows of a step: a key, tags, and fields by name for each row.

verl's classes hand rows to ours as a `KVBatchMeta` (a partition, keys and tags); no other module of TAPO imports
`transfer_queue`, so a verl that moves its rows elsewhere is met here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

__all__ = ["TRAIN", "KVBatchMeta", "delete_row", "delete_rows", "put_rows", "read_fields", "tag_row", "write_fields"]

TRAIN = "train"
"""The partition of verl's training rows."""


def read_fields(keys: Sequence[str], partition_id: str, names: Sequence[str]) -> TensorDict:
    """The named fields of rows, in the order of `keys`; rows of differing lengths come as a nested tensor."""
    return tq.kv_batch_get(keys=list(keys), partition_id=partition_id, select_fields=list(names))


def write_fields(keys: Sequence[str], partition_id: str, fields: TensorDict) -> None:
    """Add fields to rows that are there, or replace them: row i of `fields` belongs to `keys[i]`."""
    tq.kv_batch_put(keys=list(keys), partition_id=partition_id, fields=fields)


def put_rows(keys: Sequence[str], partition_id: str, fields: TensorDict, tags: Sequence[Mapping[str, Any]]) -> None:
    """Make rows: row i of `fields` and `tags[i]` belong to `keys[i]`."""
    tq.kv_batch_put(keys=list(keys), partition_id=partition_id, fields=fields, tags=[dict(tag) for tag in tags])


def delete_rows(keys: Sequence[str], partition_id: str) -> None:
    """Delete rows with their tags and fields."""
    tq.kv_clear(keys=list(keys), partition_id=partition_id)


async def tag_row(key: str, tags: Mapping[str, Any]) -> None:
    """Add tags to a training row, which is made where it is not there yet."""
    await tq.async_kv_put(key=key, partition_id=TRAIN, tag=dict(tags))


async def delete_row(key: str) -> None:
    """Delete a training row with its tags and fields."""
    await tq.async_kv_clear(keys=[key], partition_id=TRAIN)
