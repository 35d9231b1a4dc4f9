"""Many awaitables at a time, results in order, and a store that is filled with them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

from tapo.files.part_store import PartStore, RowT

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], *, at_once: int, ahead: int | None = None
) -> AsyncGenerator[Result, None]:
    """`work(item)` of each item, in the items' order, with `at_once` of them under way.

    Results that wait for an earlier one are held back, `ahead` items at most (default: four times `at_once`), so that
    one long response neither stalls the others nor lets them pile up. An exception of `work` ends the iteration there,
    after the results before it, and cancels what is under way.
    """
    if at_once < 1:
        raise ValueError(f"at_once = {at_once} cannot work: needs an integer >= 1")
    gate = asyncio.Semaphore(at_once)

    async def guarded(item: Item) -> Result:
        async with gate:
            return await work(item)

    tasks: deque[asyncio.Task[Result]] = deque()
    limit = 4 * at_once if ahead is None else max(ahead, 1)
    iterator = iter(items)
    try:
        while True:
            tasks.extend(asyncio.create_task(guarded(item)) for item in islice(iterator, limit - len(tasks)))
            if not tasks:
                return
            result = await tasks[0]
            tasks.popleft()
            yield result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fill_store(
    store: PartStore[RowT],
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[RowT]],
    *,
    at_once: int,
    part_size: int,
    seen: Callable[[RowT], None],
) -> None:
    """Append `work(item)` of each item in the items' order, a part whenever `part_size` rows are complete.

    A killed process loses the part under way. What is complete when `work` or `seen` raises or the user interrupts is
    written before the exception goes on, so that a second start with the items that the store lacks repeats little.

    Args:
        seen: told of each row as it is complete.
    """
    part: list[RowT] = []
    try:
        async with contextlib.aclosing(in_order(items, work, at_once=at_once)) as rows:
            async for row in rows:
                part.append(row)
                seen(row)
                if len(part) == part_size:
                    full, part = part, []
                    store.append(full)
    finally:
        store.append(part)
