from transfer_queue import KVBatchMeta

from tapo.core.groups import REF_TAG
from tapo.trainer.batch import interleave, select, split


def meta(names):
    tags = [{REF_TAG: {}} if name.startswith("r") else {} for name in names]
    return KVBatchMeta(partition_id="train", keys=list(names), tags=tags, extra_info={"temperature": 1.0})


def test_a_batch_is_split_by_tag_in_its_order():
    rollouts, refs = split(meta(["a", "r1", "b", "r2"]))
    assert rollouts.keys == ["a", "b"] and refs.keys == ["r1", "r2"]
    rollouts, refs = split(meta(["a", "b"]))
    assert rollouts.keys == ["a", "b"] and len(refs) == 0


def test_rollouts_keep_the_chunk_that_grpo_gives_them():
    batch = interleave(meta(["a", "b", "c", "d"]), meta(["r1", "r2"]), chunks=2)
    assert batch.keys == ["a", "b", "r1", "c", "d", "r2"]
    assert [REF_TAG in tag for tag in batch.tags] == [False, False, True] * 2
    assert batch.extra_info == {"temperature": 1.0}


def test_extra_info_of_a_part_is_its_own():
    batch = meta(["a", "b"])
    part = select(batch, [0])
    part.extra_info["x"] = 1
    assert "x" not in batch.extra_info
