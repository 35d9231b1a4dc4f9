"""Until when constructions may go on behind the rollouts of their worker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tapo.core.funnel import ConstructionError


class Deadline:
    """Gives up what is under way so many seconds after the last rollout of a worker has settled.

    Rollouts that begin later open it again.
    """

    def __init__(self, seconds: float | None):
        self._seconds = seconds
        self._rolling_out = 0
        self._passed = False
        self._working: set[asyncio.Future[Any]] = set()
        self._resumed: asyncio.Future[None] | None = None
        self._timer: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A rollout begins."""
        self._rolling_out += 1
        self._passed = False
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    def settle(self) -> None:
        """A rollout has settled."""
        self._rolling_out -= 1
        if self._seconds is not None and not self._rolling_out:
            self._resumed = asyncio.get_running_loop().create_future()
            self._timer = asyncio.create_task(self._wait(self._resumed, self._seconds))

    async def bound(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, which is cancelled when the deadline comes.

        Raises:
            ConstructionError: "deadline" if the work is not done then.
        """
        if self._passed:
            raise ConstructionError("deadline")
        if self._seconds is None:
            return await work()
        task = asyncio.ensure_future(work())
        self._working.add(task)
        try:
            await task
        except asyncio.CancelledError:
            # Taken out by the timer, or cancelled by whoever waits here, which is theirs to see.
            if task in self._working:
                raise
            raise ConstructionError("deadline") from None
        finally:
            self._working.discard(task)

    async def _wait(self, resumed: asyncio.Future[None], seconds: float) -> None:
        try:
            await asyncio.wait_for(resumed, seconds)
        except asyncio.TimeoutError:
            self._passed = True
            given_up, self._working = self._working, set()
            for task in given_up:
                task.cancel()
