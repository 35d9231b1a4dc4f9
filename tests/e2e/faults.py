"""Agent-loop managers whose rollout client fails in the middle of a construction."""

import asyncio
import json
import os
import time
from itertools import count
from typing import Any

import ray

from tapo.rollout.manager import TapoAgentLoopManager
from tapo.rollout.worker import TapoAgentLoopWorker

WITHOUT_END = 800
"""Tokens of the answers that take too long, by which the engine's requests are told apart."""
PATIENCE_S = 3
"""Shorter than such an answer takes."""
REMAINS = "TAPO_TEST_REMAINS"
"""Environment variable: the file that says what the engine is still at when the constructions of a group are over."""


class Faulty:
    """verl's client; it raises, hangs, or asks for more than there is time for, in turns, where a construction is
    asked for."""

    def begin(self) -> None:
        self.turns = count()

    async def generate(self, request_id: str, **request: Any) -> Any:
        turn = next(self.turns) % 3 if "_ref_" in request_id else None
        if turn == 0:
            raise RuntimeError("the rollout client died")
        if turn == 1:
            await asyncio.sleep(3600)
        if turn == 2:
            without_end = {"ignore_eos": True, "max_tokens": WITHOUT_END, "stop": None}
            request["sampling_params"] = {**request["sampling_params"], **without_end}
        return await super().generate(request_id, **request)  # type: ignore[misc]


def count_without_end(server: Any) -> int:
    """Run in a server of vLLM's: how many of them it is at."""
    states = server.engine.output_processor.request_states.values()
    return sum(state.max_tokens_param == WITHOUT_END for state in states)


class FaultyWorker(TapoAgentLoopWorker):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        client = type(self.llm_client)
        self.llm_client.__class__ = type(f"Faulty{client.__name__}", (Faulty, client), {})
        self.llm_client.begin()

    async def _construct(self, *args: Any, **kwargs: Any) -> None:
        working = asyncio.ensure_future(super()._construct(*args, **kwargs))
        most = left = 0
        while not working.done():
            most = max(most, left := await self._count())
            await asyncio.sleep(0.1)
        # Other groups' are under way beside it, and messages take their time on a busy machine.
        ends_at = time.monotonic() + PATIENCE_S
        while left and time.monotonic() < ends_at:
            left = await self._count()
        with open(os.environ[REMAINS], "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"while": most, "behind": left}) + "\n")
        await working

    async def _count(self) -> int:
        server_id, server = await self.llm_client._acquire_server("count")
        self.llm_client._release_server(server_id, "count")
        return await server.__ray_call__.remote(count_without_end)


class FaultyManager(TapoAgentLoopManager):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(FaultyWorker)
