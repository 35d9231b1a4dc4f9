import random
from collections import Counter

import pytest
import torch
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils.tensordict_utils import make_iterator

from tapo import transfer
from tapo.core.groups import REF_TAG
from tapo.trainer.batch import complete, deal, interleave, select, shuffled_rows, split
from tapo.trainer.loss import ref_totals


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


def test_a_row_of_which_there_is_a_tag_and_nothing_else_is_deleted_and_the_others_are_whole(monkeypatch, caplog):
    deleted = []
    monkeypatch.setattr(transfer, "delete_rows", lambda keys, partition: deleted.append((list(keys), partition)))
    refs = meta(["r1", "r2", "r3"])
    for i in (0, 2):
        refs.tags[i]["seq_len"] = 7
    assert complete(refs).keys == ["r1", "r3"] and deleted == [(["r2"], "train")]
    assert "without fields are deleted: r2" in caplog.text
    assert complete(complete(refs)).keys == ["r1", "r3"] and len(deleted) == 2


SHAPES = [(1, 1, 5), (2, 2, 3), (8, 4, 33), (8, 4, 3), (4, 16, 100), (1, 32, 31), (8, 2, 160)]
"""(ranks, mini-batches of an update, constructed rows)."""


def tags_of(ranks, mini_batches, rows, seed=0):
    """Rows of real lengths, padded as verl pads them."""
    lengths = [random.Random(seed + i).randint(200, 8192) for i in range(rows)]
    tags = [{"seq_len": n + 100, "response_len": n} for n in lengths]
    return tags + [{"seq_len": 128, "response_len": 1, "is_padding": True}] * (-rows % (ranks * mini_batches))


def cells(tags, ranks, mini_batches):
    """{(rank, mini-batch): rows}, as verl cuts the order that is dealt."""
    order = deal(tags, ranks=ranks, mini_batches=mini_batches)
    assert sorted(order) == list(range(len(tags)))
    size = len(tags) // (ranks * mini_batches)
    starts = range(0, len(order), size)
    return {divmod(i, mini_batches): order[start : start + size] for i, start in enumerate(starts)}


@pytest.mark.parametrize(("ranks", "mini_batches", "rows"), SHAPES)
def test_mini_batches_get_equal_shares_of_constructed_rows(ranks, mini_batches, rows):
    tags = tags_of(ranks, mini_batches, rows)
    real = Counter()
    tokens = Counter()
    for (_, mini_batch), dealt in cells(tags, ranks, mini_batches).items():
        real[mini_batch] += sum("is_padding" not in tags[row] for row in dealt)
        tokens[mini_batch] += sum(tags[row]["response_len"] for row in dealt if "is_padding" not in tags[row])
    counts = [real[m] for m in range(mini_batches)]
    if rows >= 2 * mini_batches:
        mean = sum(tokens.values()) / mini_batches
        assert max(tokens.values()) - min(tokens.values()) <= 0.35 * mean + 8192 / 8
        assert min(counts) >= 1
    assert max(counts) - min(counts) <= max(2, rows // mini_batches // 4)


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
@pytest.mark.parametrize(("ranks", "mini_batches", "rows"), SHAPES)
def test_every_constructed_row_weighs_the_same_wherever_it_falls(ranks, mini_batches, rows, mode):
    """The weight of a row's tokens in the update, as verl's loss aggregation computes it rank by rank."""
    tags = tags_of(ranks, mini_batches, rows)
    totals = ref_totals(tags, mini_batches)
    weights = {}
    for dealt in cells(tags, ranks, mini_batches).values():
        for row in dealt:
            if "is_padding" in tags[row]:
                continue
            losses = torch.ones(1, tags[row]["response_len"], requires_grad=True)
            loss = agg_loss(
                losses,
                torch.ones_like(losses),
                mode,
                dp_size=ranks,
                batch_num_tokens=totals.tokens,
                global_batch_size=totals.rows,
                loss_scale_factor=totals.longest,
            )
            # Data-parallel ranks average their gradients.
            weights[row] = torch.autograd.grad(loss, losses)[0].sum().item() / ranks
    length = {row: tags[row]["response_len"] for row in weights}
    per_row = {
        "token-mean": lambda n: n / sum(length.values()),
        "seq-mean-token-mean": lambda n: 1 / rows,
        "seq-mean-token-sum-norm": lambda n: n / max(length.values()) / rows,
    }[mode]
    assert len(weights) == rows
    for row, weight in weights.items():
        assert weight == pytest.approx(mini_batches * per_row(length[row]), rel=1e-4)


def test_shuffled_mini_batches_hold_the_rollouts_that_verl_shuffles_into_them_and_their_share_of_the_others():
    mini_batches, rollouts, refs, epochs, seed = 3, 4, 2, 2, 47
    rows = shuffled_rows(mini_batches=mini_batches, rollouts=rollouts, refs=refs, epochs=epochs, seed=seed)
    batches = rows.view(epochs * mini_batches, rollouts + refs)
    # GRPO's batch is the rollouts alone, in their order.
    place = [row for row in range(mini_batches * (rollouts + refs)) if row % (rollouts + refs) < rollouts]
    data = TensorDict({"row": torch.tensor(place)}, batch_size=[len(place)])
    grpo = make_iterator(data, rollouts, epochs, seed, {"shuffle": True})
    assert batches[:, :rollouts].tolist() == [part["row"].tolist() for part in grpo]
    for epoch in batches.view(epochs, -1):
        assert sorted(epoch.tolist()) == list(range(mini_batches * (rollouts + refs)))
    assert batches[0].tolist() != batches[3].tolist()
