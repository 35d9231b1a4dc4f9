"""Many awaitables at a time, results in order."""

import asyncio

import pyarrow.parquet as pq
import pytest

from tapo.data.rollout_store import RolloutStore
from tapo.generation.stream import fill_store, in_order
from tests.stand_ins.queries import rollouts


def collect(items, work, **options):
    async def run():
        return [result async for result in in_order(items, work, **options)]

    return asyncio.run(run())


def test_results_come_in_the_order_of_the_items_whatever_takes_how_long():
    async def work(item):
        await asyncio.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert collect(range(10), work, at_once=4) == [item * item for item in range(10)]


def test_no_more_are_under_way_than_allowed_and_no_more_items_are_taken_than_may_wait():
    state = {"running": 0, "most": 0, "taken": 0, "yielded": 0, "furthest": 0}

    def items():
        for item in range(40):
            state["taken"] += 1
            state["furthest"] = max(state["furthest"], state["taken"] - state["yielded"])
            yield item

    async def work(item):
        state["running"] += 1
        state["most"] = max(state["most"], state["running"])
        await asyncio.sleep(0.001)
        state["running"] -= 1
        return item

    async def run():
        async for _ in in_order(items(), work, at_once=3, ahead=5):
            state["yielded"] += 1

    asyncio.run(run())
    assert (state["most"], state["taken"]) == (3, 40)
    assert state["furthest"] <= 6


def test_a_failure_comes_after_the_results_before_it_and_cancels_the_rest():
    cancelled = []

    async def work(item):
        if item == 2:
            raise RuntimeError("two")
        try:
            await asyncio.sleep(0 if item < 2 else 60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    async def run():
        seen = []
        with pytest.raises(RuntimeError, match="two"):
            async for result in in_order(range(5), work, at_once=5):
                seen.append(result)
        return seen

    assert asyncio.run(run()) == [0, 1]
    assert cancelled == [3, 4]


def test_at_least_one_must_be_under_way():
    with pytest.raises(ValueError, match="at_once = 0 cannot work: needs an integer >= 1"):
        collect([1], None, at_once=0)


def fill(folder, names, fails_at=None, **options):
    """Parts of a store after it was filled, and the names that were seen; at `fails_at` whoever sees it raises."""
    store, told = RolloutStore.open_for_append(folder, {}), []

    async def work(name):
        await asyncio.sleep(0)
        return rollouts(name, [1.0])

    def seen(row):
        told.append(row.index)
        if row.index == fails_at:
            raise KeyboardInterrupt

    try:
        asyncio.run(fill_store(store, names, work, at_once=2, part_size=2, seen=seen))
    except KeyboardInterrupt:
        assert fails_at
    parts = sorted(folder.glob("part-*"))
    return [pq.read_table(part)["index"].to_pylist() for part in parts], told


def test_a_store_is_filled_in_order_by_parts_and_the_last_one_may_be_smaller(tmp_path):
    assert fill(tmp_path, "abcde") == ([["a", "b"], ["c", "d"], ["e"]], list("abcde"))
    assert fill(tmp_path / "none", "") == ([], [])


def test_what_is_complete_when_filling_is_interrupted_is_written(tmp_path):
    assert fill(tmp_path, "abcde", fails_at="c") == ([["a", "b"], ["c"]], list("abc"))
