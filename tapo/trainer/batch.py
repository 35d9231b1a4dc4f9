"""Rollouts and constructed rows in one batch: told apart by key, laid out so that every mini-batch holds its share."""

import logging
from collections.abc import Sequence
from copy import copy

import torch
from tensordict import TensorDict
from verl.utils.seqlen_balancing import calculate_workload, get_seqlen_balanced_partitions
from verl.utils.tensordict_utils import make_iterator

from tapo import transfer
from tapo.core.groups import REF_TAG
from tapo.transfer import KVBatchMeta

logger = logging.getLogger(__name__)


def split(batch: KVBatchMeta) -> tuple[KVBatchMeta, KVBatchMeta]:
    """(rollouts, constructed rows), each with the padding rows made for it, in the batch's order."""
    rollouts, refs = ([i for i, tag in enumerate(batch.tags) if (REF_TAG in tag) is kind] for kind in (False, True))
    return select(batch, rollouts), select(batch, refs)


def complete(refs: KVBatchMeta) -> KVBatchMeta:
    """The rows that were put whole. A worker that died between a row's tag and its fields leaves the tag, which is
    deleted here."""
    whole = [i for i, tag in enumerate(refs.tags) if "seq_len" in tag]
    if len(whole) == len(refs):
        return refs
    halves = [key for i, key in enumerate(refs.keys) if i not in set(whole)]
    logger.warning("constructed rows without fields are deleted: %s", ", ".join(halves))
    transfer.delete_rows(halves, refs.partition_id)
    return select(refs, whole)


def select(batch: KVBatchMeta, rows: list[int]) -> KVBatchMeta:
    """The named rows, with all their fields and a copy of the batch's extra info."""
    return KVBatchMeta(
        partition_id=batch.partition_id,
        keys=[batch.keys[i] for i in rows],
        tags=[batch.tags[i] for i in rows],
        extra_info=copy(batch.extra_info),
    )


def deal(tags: Sequence[dict], *, ranks: int, mini_batches: int) -> list[int]:
    """Order of constructed rows in which verl's even cuts give each mini-batch, and in it each rank, its share.

    Shares are equal in rows, padding included, and balanced in the work of the rows that are not: verl's own balancing
    looks at ranks alone, and leaves the padding to the last mini-batches.

    Args:
        tags: of N rows, N a multiple of ranks x mini_batches.

    Returns:
        N row numbers, those of a rank together, and in it those of a mini-batch.
    """
    lengths = torch.tensor([0 if is_padding(tag) else tag["seq_len"] for tag in tags], dtype=torch.int64)
    workload = calculate_workload(lengths)

    def parts(rows: list[int], number: int) -> list[list[int]]:
        split = get_seqlen_balanced_partitions(workload[rows].tolist(), k_partitions=number, equal_size=True)
        return [[rows[i] for i in part] for part in split]

    cells = [parts(rows, ranks) for rows in parts(list(range(len(tags))), mini_batches)]
    return [row for rank in range(ranks) for mini_batch in cells for row in mini_batch[rank]]


def shuffled_rows(*, mini_batches: int, rollouts: int, refs: int, epochs: int, seed: int) -> torch.Tensor:
    """Row numbers of a rank for `actor.shuffle`, over all epochs, where `interleave` laid the rows out.

    Each mini-batch holds the rollouts that verl's own shuffling puts into it, then as many of the other rows as before.

    Args:
        rollouts, refs: rows of one mini-batch on this rank.
        seed: of verl's data loader on this rank.
    """
    rows = torch.arange(mini_batches * (rollouts + refs)).view(mini_batches, rollouts + refs)
    dealt = [
        make_iterator(
            TensorDict({"row": kind.flatten()}, batch_size=[kind.numel()]),
            mini_batch_size=kind.shape[1],
            epochs=epochs,
            seed=seed,
            dataloader_kwargs={"shuffle": True},
        )
        for kind in (rows[:, :rollouts], rows[:, rollouts:])
    ]
    return torch.cat([part["row"] for pair in zip(*dealt, strict=True) for part in pair])


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
