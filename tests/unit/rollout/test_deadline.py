"""Constructions are given up so long after the last rollout, and only then."""

import asyncio

import pytest

from tapo.core.funnel import ConstructionError
from tapo.rollout.deadline import Deadline


class Work:
    """Something that takes so many seconds; notes how it ended."""

    def __init__(self, seconds):
        self.seconds, self.ended = seconds, None

    async def __call__(self):
        try:
            await asyncio.sleep(self.seconds)
            self.ended = "done"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def bound(deadline, work):
    try:
        await deadline.bound(work)
    except ConstructionError as error:
        return error.reason
    return "kept"


async def test_work_is_cancelled_so_long_after_the_last_rollout_and_no_other_begins():
    deadline, long, short = Deadline(0.1), Work(60), Work(0.01)
    for _ in range(2):
        deadline.begin()
    working = asyncio.gather(bound(deadline, long), bound(deadline, short))
    deadline.settle()
    await asyncio.sleep(0.2)
    assert (long.ended, short.ended) == (None, "done")
    deadline.settle()
    assert await working == ["deadline", "kept"] and long.ended == "cancelled"
    late = Work(0)
    assert await bound(deadline, late) == "deadline" and late.ended is None


async def test_rollouts_that_begin_in_time_or_later_open_it_again():
    deadline, first, second = Deadline(0.1), Work(0.3), Work(0.0)
    deadline.begin()
    working = asyncio.ensure_future(bound(deadline, first))
    deadline.settle()
    deadline.begin()
    assert await working == "kept" and first.ended == "done"
    deadline.settle()
    await asyncio.sleep(0.2)
    deadline.begin()
    assert await bound(deadline, second) == "kept"


async def test_none_is_no_deadline_and_zero_is_the_last_rollout_itself():
    never, at_once = Deadline(None), Deadline(0)
    for deadline in (never, at_once):
        deadline.begin()
        deadline.settle()
    assert await bound(never, Work(0.05)) == "kept"
    assert await bound(at_once, Work(0.05)) == "deadline"


async def test_who_is_cancelled_while_waiting_takes_the_work_along_and_sees_it():
    deadline, work = Deadline(60.0), Work(60)
    waiting = asyncio.ensure_future(deadline.bound(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended == "cancelled"


async def test_what_the_work_raises_is_raised():
    async def fails():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await Deadline(60.0).bound(fails)
