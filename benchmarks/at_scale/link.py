"""How a worker takes part in simulated time: it tells the engine when all that it does waits for simulated things.

Each task that stems from a prompt is looked at: it waits for the engine, for another such task, or it is busy (with
Ray, TransferQueue, a thread, or Python). The worker is asleep when no task is busy.
"""

import asyncio
import contextvars
import math
import time
import weakref
from collections.abc import Awaitable
from typing import Any, ClassVar

from verl.workers.rollout.llm_server import LLMServerClient

from benchmarks.at_scale.clock import simulate_time
from benchmarks.at_scale.engine import NOW

LOOK_EVERY_S = 0.002
TURNS = 6
"""Turns of the event loop in a row in which nothing is busy: a task wakes one turn after what it waits for."""

_simulated = contextvars.ContextVar("simulated", default=False)


class Link:
    """A worker's end of it.

    Attributes:
        now: simulated seconds when the last message came in; nothing is done at any other time.
        seconds: CPU time that the simulation itself has taken in this process.
    """

    current: ClassVar["Link"]

    def __init__(self, engine: Any, number: int):
        self.engine, self.number = engine, number
        self.now = self.seconds = 0.0
        self._sent = self._received = 0
        self._tasks: weakref.WeakSet[asyncio.Task] = weakref.WeakSet()
        self._for_engine: set[asyncio.Task] = set()
        self._for_tasks: set[asyncio.Task] = set()
        self._timers: dict[asyncio.Future, float] = {}
        self._stirred = asyncio.Event()

    def start(self) -> None:
        """Look after the running event loop from now on."""
        Link.current = self
        loop = asyncio.get_running_loop()
        self._own = [loop.create_task(self._watch()), loop.create_task(self._listen())]
        loop.set_task_factory(self._make_task)
        simulate_time(lambda: self.now, self._wait_for)

    def receive(self, now: float) -> None:
        """A message has come in that the engine knows of."""
        self.now = now
        self._received += 1
        self._stirred.set()

    async def ask(self, answer: Awaitable[Any]) -> Any:
        """Wait for an answer of the engine's; who stops waiting lets it know."""
        task = asyncio.current_task()
        assert task is not None
        self._sent += 1
        self._for_engine.add(task)
        try:
            result = await answer
        except asyncio.CancelledError:
            self._sent += 1
            self.engine.leave.remote(self.number, SimulatedClient.requests[task])
            self._stirred.set()
            raise
        finally:
            self._for_engine.discard(task)
        self.receive(result.extra_fields.pop(NOW))
        return result

    def busy_tasks(self) -> list[str]:
        """What keeps the worker from sleeping, to find out why a clock stands still."""
        return [repr(task) for task in self._tasks if self._is_busy(task)]

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task:
        task = asyncio.Task(coroutine, loop=loop, **kwargs)
        if _simulated.get():
            self._tasks.add(task)
        return task

    async def _watch(self) -> None:
        """Report whenever the worker has fallen asleep."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            while not await self._is_asleep():
                await asyncio.sleep(LOOK_EVERY_S)
            begin = time.thread_time()
            wake_at = min(self._timers.values(), default=math.inf)
            self.engine.report.remote(self.number, self._sent, self._received, wake_at)
            self.seconds += time.thread_time() - begin

    async def _listen(self) -> None:
        """Wake up what waits for a time that has come."""
        while True:
            now = await self.engine.alarm.remote(self.number)
            self.receive(now)
            for timer, at in self._timers.items():
                if at <= now and not timer.done():
                    timer.set_result(None)

    async def _is_asleep(self) -> bool:
        for _ in range(TURNS):
            begin = time.thread_time()
            busy = any(self._is_busy(task) for task in self._tasks)
            self.seconds += time.thread_time() - begin
            if busy:
                return False
            await asyncio.sleep(0)
        return True

    def _is_busy(self, task: asyncio.Task) -> bool:
        if task.done() or task in self._for_engine or task in self._for_tasks:
            return False
        waits_for = task._fut_waiter  # type: ignore[attr-defined]
        if waits_for is None or waits_for.done():
            return True
        return not isinstance(waits_for, asyncio.Task | asyncio.tasks._GatheringFuture)  # type: ignore[attr-defined]

    async def _wait_for(self, awaitable: Awaitable[Any], seconds: float) -> Any:
        """`asyncio.wait_for`, with simulated seconds."""
        me = asyncio.current_task()
        assert me is not None
        inner: asyncio.Future[Any] = asyncio.ensure_future(awaitable)
        timer = asyncio.get_running_loop().create_future()
        self._timers[timer] = self.now + seconds
        self._for_tasks.add(me)
        try:
            await asyncio.wait((inner, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._for_tasks.discard(me)
            del self._timers[timer]
            ended = inner.done()
            if not ended:
                inner.cancel()
                await asyncio.gather(inner, return_exceptions=True)
        if not ended:
            raise asyncio.TimeoutError
        return inner.result()


def enter() -> None:
    """Tasks that are made from here on are looked at."""
    _simulated.set(True)


class SimulatedClient(LLMServerClient):
    """verl's client; the engine is told whom it answers, and who no longer waits."""

    requests: ClassVar[weakref.WeakKeyDictionary[asyncio.Task, str]] = weakref.WeakKeyDictionary()
    """The engine's name of the request that a task is at."""

    async def generate(self, request_id: str, **request: Any) -> Any:
        """verl's."""
        return await Link.current.ask(super().generate(request_id, **request))

    def _vllm_request_id(self, request_id: str) -> str:
        name = super()._vllm_request_id(request_id)
        task = asyncio.current_task()
        assert task is not None
        self.requests[task] = name
        return name


class ReplicaHandle:
    """What the load balancer hands out: one replica of the engine, which looks like a server with a `generate`."""

    def __init__(self, engine: Any, replica: int):
        self._engine, self._replica = engine, replica
        self.generate = self

    def remote(self, **request: Any) -> Any:
        """As of a server's method `generate`."""
        return self._engine.generate.remote(participant=Link.current.number, replica=self._replica, **request)
