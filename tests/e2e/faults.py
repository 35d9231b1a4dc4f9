"""Agent-loop managers whose rollout client fails in the middle of a construction."""

import asyncio
from typing import Any

import ray

from tapo.rollout.manager import TapoAgentLoopManager
from tapo.rollout.worker import TapoAgentLoopWorker


class FaultyClient:
    """A rollout client that raises or hangs, in turns, once a construction is asked for."""

    def __init__(self, client: Any):
        self.client = client
        self.constructions = 0

    async def generate(self, request_id: str, **request: Any) -> Any:
        if "_ref_" not in request_id:
            return await self.client.generate(request_id, **request)
        self.constructions += 1
        if self.constructions % 2:
            raise RuntimeError("the rollout client died")
        await asyncio.sleep(3600)


class FaultyWorker(TapoAgentLoopWorker):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.llm_client = FaultyClient(self.llm_client)


class FaultyManager(TapoAgentLoopManager):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(FaultyWorker)
