"""Rollouts and constructed rows in one batch: told apart by key, laid out so that every mini-batch holds its share."""

from copy import copy

from tapo.core.groups import REF_TAG
from tapo.transfer import KVBatchMeta


def split(batch: KVBatchMeta) -> tuple[KVBatchMeta, KVBatchMeta]:
    """(rollouts, constructed rows), each with the padding rows made for it, in the batch's order."""
    ref = [REF_TAG in tag for tag in batch.tags]
    return select(batch, [i for i, flag in enumerate(ref) if not flag]), select(
        batch, [i for i, flag in enumerate(ref) if flag]
    )


def select(batch: KVBatchMeta, rows: list[int]) -> KVBatchMeta:
    """The named rows, with all their fields and a copy of the batch's extra info."""
    return KVBatchMeta(
        partition_id=batch.partition_id,
        keys=[batch.keys[i] for i in rows],
        tags=[batch.tags[i] for i in rows],
        extra_info=copy(batch.extra_info),
    )


def interleave(rollouts: KVBatchMeta, refs: KVBatchMeta, chunks: int) -> KVBatchMeta:
    """One batch of `chunks` equal parts, each a chunk of the rollouts in their order and then one of the others.

    verl cuts a batch into ranks and each rank's rows into mini-batches, so with chunks = ranks x mini-batches the
    rollouts keep the rank and the mini-batch that GRPO gives them.
    """
    assert len(rollouts) % chunks == 0 and len(refs) % chunks == 0, (len(rollouts), len(refs), chunks)
    keys, tags = [], []
    for chunk in range(chunks):
        for part in (rollouts, refs):
            size = len(part) // chunks
            keys += part.keys[chunk * size : (chunk + 1) * size]
            tags += part.tags[chunk * size : (chunk + 1) * size]
    return KVBatchMeta(partition_id=rollouts.partition_id, keys=keys, tags=tags, extra_info=copy(rollouts.extra_info))


def is_padding(tag: dict) -> bool:
    """Whether verl made the row up to fill the batch; its other tags are then copies of some real row's."""
    return bool(tag.get("is_padding", False))
