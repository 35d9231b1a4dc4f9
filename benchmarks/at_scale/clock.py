"""Simulated time in the place of real time, in TAPO's modules of a worker: deadlines and time-outs mean it."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

Now = Callable[[], float]
WaitFor = Callable[[Awaitable[Any], float], Awaitable[Any]]
_CLOCKS = ("monotonic", "perf_counter", "time")


class _With:
    """Something with a few of its attributes replaced."""

    def __init__(self, original: Any, **replaced: Any):
        self._original = original
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def simulate_time(now: Now, wait_for: WaitFor, package: str = "tapo") -> None:
    """Let the modules of a package that are loaded take their time from `now`.

    Args:
        wait_for: `asyncio.wait_for`, with simulated seconds.
    """

    async def wait(awaitable: Awaitable[Any], timeout: float | None = None) -> Any:
        return await (awaitable if timeout is None else wait_for(awaitable, timeout))

    def loop() -> _With:
        return _With(asyncio.get_running_loop(), time=now)

    replaced = {time: _With(time, **dict.fromkeys(_CLOCKS, now))}
    replaced[asyncio] = _With(asyncio, wait_for=wait, get_running_loop=loop)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == package:
            for used, instead in replaced.items():
                if getattr(module, used.__name__, None) is used:
                    setattr(module, used.__name__, instead)
