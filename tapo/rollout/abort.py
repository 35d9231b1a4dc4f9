"""Requests that end in the engine when their caller no longer waits for them.

verl's client leaves them to the engine, which goes on decoding for nobody, and SGLang must be idle when it sleeps.
"""

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

import ray


def aborting(client: Any) -> Any:
    """A client like verl's, for the same servers, whose requests end in the engine when they are cancelled.

    One without servers of verl's (a function's, a test's) is returned as it is.
    """
    acquire = getattr(type(client), "_acquire_server", None)
    if acquire is None:
        return client
    # verl makes the request and lets go of its handle in one method. The one thing that it takes from elsewhere is the
    # server, so that is what is replaced, on a copy: the rollouts' own client stays as it is.
    own = copy.copy(client)

    async def acquire_server(request_id: str, **extra: Any) -> tuple[str, Any]:
        server_id, server = await acquire(own, request_id, **extra)
        return server_id, _Server(server)

    own._acquire_server = acquire_server
    return own


class _Server:
    """A server's handle, of which `generate.remote` is used."""

    def __init__(self, handle: Any):
        self._handle = handle
        self.generate = self

    async def remote(self, **request: Any) -> Any:
        answer = self._handle.generate.remote(**request)
        try:
            return await answer
        except asyncio.CancelledError:
            _end(self._handle, answer, request)
            raise


def _end(handle: Any, answer: Any, request: Mapping[str, Any]) -> None:
    # vLLM aborts what it is at when its coroutine is cancelled. verl's own `abort_request` does not find it: it looks
    # under the name that was given, and vLLM keeps requests under one of its own.
    ray.cancel(answer)
    if hasattr(handle, "__ray_call__"):
        handle.__ray_call__.remote(_abort_in_sglang, request["request_id"])


def _abort_in_sglang(server: Any, request_id: str) -> None:
    """Run inside a server's process. SGLang goes on with a request whose coroutine is cancelled, until it is told."""
    manager = getattr(server, "tokenizer_manager", None)
    if manager is not None:
        manager.abort_request(rid=request_id)
