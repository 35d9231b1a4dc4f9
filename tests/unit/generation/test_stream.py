"""Many awaitables at a time, results in order."""

import asyncio

import pytest

from tapo.generation.stream import in_order


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
