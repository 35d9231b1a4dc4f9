"""TAPO's agent-loop workers in simulated time."""

import time
from typing import Any

import ray
from tensordict import TensorDict

from benchmarks.at_scale.link import Link, enter
from tapo.rollout.manager import TapoAgentLoopManager
from tapo.rollout.worker import TapoAgentLoopWorker


class SimulatedWorker(TapoAgentLoopWorker):
    """The worker as it is, with a link to the engine."""

    _link: Link

    async def attach(self, engine: Any, number: int) -> None:
        """Take part in simulated time as this participant."""
        self._link = Link(engine, number)
        self._link.start()
        self._link.receive(await engine.now.remote())

    async def generate_sequences(self, batch: TensorDict) -> None:
        """verl's."""
        enter()
        self._link.now = await self._link.engine.now.remote()
        await super().generate_sequences(batch)
        self._link.receive(self._link.now)

    async def cpu_seconds(self) -> float:
        """CPU time of this process so far, without what the simulation took."""
        return time.process_time() - self._link.seconds

    async def busy_tasks(self) -> list[str]:
        """What keeps it from sleeping."""
        return self._link.busy_tasks()


class SimulatedManager(TapoAgentLoopManager):
    """The manager as it is, over those workers."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(SimulatedWorker)

    def attach(self, engine: Any) -> None:
        """Give each worker its number, from 0 on."""
        numbers = range(len(self.agent_loop_workers))
        ray.get(engine.expect.remote(list(numbers)))
        ray.get([worker.attach.remote(engine, number) for number, worker in enumerate(self.agent_loop_workers)])
