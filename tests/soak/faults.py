"""The agent-loop worker of the soak, in which everything that a construction needs fails at times."""

import asyncio
import errno
import math
from pathlib import Path
from typing import Any

import ray
import transfer_queue as tq

from tapo import transfer
from tapo.core.groups import REF_TAG
from tapo.rollout.manager import TapoAgentLoopManager
from tapo.rollout.worker import TapoAgentLoopWorker
from tests.soak.chance import Fault, chance

TIMEOUT_S = 5
"""Of a construction."""
WITHOUT_END = 800
"""Tokens of an answer that takes longer."""


class Client:
    """verl's client; what a construction asks of it fails in every way."""

    async def generate(self, request_id: str, **request: Any) -> Any:
        if "_ref_" not in request_id:
            return await super().generate(request_id, **request)  # type: ignore[misc]
        chance().strike("request raises")
        if chance().strikes("request hangs"):
            await asyncio.sleep(3600)
        if chance().strikes("answer without end"):
            endless = {"ignore_eos": True, "max_tokens": WITHOUT_END, "stop": None}
            request["sampling_params"] = {**request["sampling_params"], **endless}
        answer = await super().generate(request_id, **request)  # type: ignore[misc]
        if chance().strikes("answer is garbage"):
            draw = chance().draw
            answer.token_ids = [draw.randrange(64) for _ in range(draw.randrange(1, 100))]
            answer.log_probs = None
        if chance().strikes("answer is empty"):
            answer.token_ids, answer.log_probs = [], None
        return answer


class FullDisk(type(Path())):  # type: ignore[misc]
    """A dump's file, of whose lines some are cut."""

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = super().open(mode, *args, **kwargs)
        if mode == "a" and chance().strikes("disk is full"):
            write = file.write

            def half(line: str) -> int:
                write(line[: chance().draw.randrange(len(line))])
                raise OSError(errno.ENOSPC, "No space left on device")

            file.write = half
        return file


def break_transfer() -> None:
    """In this process, what puts tags and rows."""
    tag_row, put = transfer.tag_row, tq.async_kv_batch_put

    async def tag_or_fail(key: str, tags: Any) -> None:
        chance().strike("tag is not put" if REF_TAG in tags else "counts are not put")
        await tag_row(key, tags)

    async def put_or_fail(keys: Any, **row: Any) -> None:
        constructed = row["partition_id"] == "train" and any("_ref" in field for field in row["fields"]["uid"])
        if constructed:
            chance().strike("row is not put")
        await put(keys=keys, **row)
        if constructed:
            chance().strike("row is put, and the put raises")

    transfer.tag_row, tq.async_kv_batch_put = tag_or_fail, put_or_fail


class SoakWorker(TapoAgentLoopWorker):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        client = type(self.llm_client)
        self.llm_client.__class__ = type(f"Soaked{client.__name__}", (Client, client), {})
        assert self._dump.path is not None
        self._dump.path = FullDisk(self._dump.path)
        break_transfer()

    async def _score(self, output: Any, fields: Any) -> None:
        await super()._score(output, fields)
        if chance().strikes("score raises"):
            raise Fault("score raises")
        if chance().strikes("score is NaN"):
            output.reward_score = math.nan
        if chance().strikes("score is infinite"):
            output.reward_score = math.inf


class SoakManager(TapoAgentLoopManager):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(SoakWorker)
