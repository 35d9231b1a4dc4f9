"""How a process takes part in simulated time: it tells the engine when all that it does waits for simulated things.

In a worker each task that stems from a prompt is looked at: it waits for the engine, for another such task, or it is
busy (with Ray, TransferQueue, a thread, or Python). The worker is asleep when no task is busy.
"""

import asyncio
import contextvars
import time
import uuid
import weakref
from collections.abc import Awaitable
from typing import Any, ClassVar

from verl.workers.rollout.llm_server import LLMServerClient

LOOK_EVERY_S = 0.002
TURNS = 6
"""Turns of the event loop in a row in which nothing is busy: a task wakes one turn after what it waits for."""

_original_wait_for = asyncio.wait_for
_simulated = contextvars.ContextVar("simulated", default=False)


class Link:
    """A worker's end of it.

    Attributes:
        seconds: CPU time that the simulation itself has taken in this process.
    """

    current: ClassVar["Link"]

    def __init__(self, engine: Any, number: int):
        self.engine, self.number = engine, number
        self.seconds = 0.0
        self._sent = self._received = 0
        self._tasks: weakref.WeakSet[asyncio.Task] = weakref.WeakSet()
        self._for_engine: set[asyncio.Task] = set()
        self._for_tasks: set[asyncio.Task] = set()
        self._stirred = asyncio.Event()

    def start(self) -> None:
        """Look after the running event loop from now on."""
        Link.current = self
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._make_task)
        asyncio.wait_for = wait_for
        self._watching = loop.create_task(self._watch())

    def receive(self) -> None:
        """A message has come in that the engine knows of."""
        self._received += 1
        self._stirred.set()

    async def ask(self, name: str, answer: Awaitable[Any]) -> Any:
        """Wait for the engine's answer; who stops waiting lets the engine know."""
        task = asyncio.current_task()
        assert task is not None
        self._sent += 1
        self._for_engine.add(task)
        try:
            result = await answer
        except asyncio.CancelledError:
            self._sent += 1
            self.engine.leave.remote(self.number, self.name_of(task) or name)
            self._stirred.set()
            raise
        finally:
            self._for_engine.discard(task)
        self.receive()
        return result

    def name_of(self, task: asyncio.Task) -> str | None:
        """The name under which the engine knows a task's request, where it differs from the caller's."""
        return SimulatedClient.names.get(task)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task:
        task = asyncio.Task(coroutine, loop=loop, **kwargs)
        if _simulated.get():
            self._tasks.add(task)
        return task

    async def _watch(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            while not await self._is_asleep():
                await asyncio.sleep(LOOK_EVERY_S)
            self.engine.report.remote(self.number, self._sent, self._received)

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

    def busy_tasks(self) -> list[str]:
        """What keeps the worker from sleeping, to find out why a clock stands still."""
        return [repr(task) for task in self._tasks if self._is_busy(task)]

    async def wait_in_simulated_time(self, awaitable: Awaitable[Any], seconds: float) -> Any:
        """`asyncio.wait_for`, with simulated seconds."""
        me = asyncio.current_task()
        assert me is not None
        inner: asyncio.Future[Any] = asyncio.ensure_future(awaitable)
        name = uuid.uuid4().hex
        timer = asyncio.ensure_future(self.ask(name, self.engine.sleep.remote(self.number, name, seconds)))
        self._for_tasks.add(me)
        try:
            await asyncio.wait((inner, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._for_tasks.discard(me)
            ended = inner.done()
            for future in (inner, timer):
                future.cancel()
            await asyncio.gather(inner, timer, return_exceptions=True)
        if not ended:
            raise asyncio.TimeoutError
        return inner.result()


def enter() -> None:
    """Tasks that are made from here on are looked at."""
    _simulated.set(True)


async def wait_for(awaitable: Awaitable[Any], timeout: float | None = None) -> Any:
    """In the place of `asyncio.wait_for`."""
    if timeout is None or not _simulated.get():
        return await _original_wait_for(awaitable, timeout)
    return await Link.current.wait_in_simulated_time(awaitable, timeout)


class SimulatedClient(LLMServerClient):
    """verl's client; the engine is told whom it answers, and who no longer waits."""

    names: ClassVar[weakref.WeakKeyDictionary[asyncio.Task, str]] = weakref.WeakKeyDictionary()

    async def generate(self, request_id: str, **request: Any) -> Any:
        """verl's."""
        return await Link.current.ask(request_id, super().generate(request_id, **request))

    def _vllm_request_id(self, request_id: str) -> str:
        name = super()._vllm_request_id(request_id)
        task = asyncio.current_task()
        assert task is not None
        self.names[task] = name
        return name


class ReplicaHandle:
    """What the load balancer hands out: one replica of the engine."""

    def __init__(self, engine: Any, replica: int):
        self._engine, self._replica = engine, replica
        self.generate = self

    def remote(self, **request: Any) -> Any:
        """As of a server's method `generate`."""
        return self._engine.generate.remote(participant=Link.current.number, replica=self._replica, **request)
