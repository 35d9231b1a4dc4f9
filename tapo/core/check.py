"""A check of the user's own: a judgement of a constructed text beyond its answer, as a short label."""

import asyncio
import functools
import inspect
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tapo.core.attempt import Attempt
from tapo.core.objections import ERROR, NO_OBJECTION, RESERVED

logger = logging.getLogger(__name__)

TIMEOUT_S = 600.0
"""Seconds that a check may take where nothing else bounds a construction; as `construction.timeout_s`."""

_LABEL = re.compile(r"[a-z0-9_]{1,32}")


class FunctionCheck:
    """Asks a function, and takes whatever goes wrong with it for the verdict `ERROR`: a check never costs a
    construction.

    Args:
        function: called with `query`, `prefix`, `reflection`, `correction` and `is_correct` by name; returns a label of
            at most 32 of the characters a-z, 0-9 and _, or "" or None where there is nothing to object. A coroutine
            function is awaited, any other runs in a thread.
        timeout_s: seconds after which an answer is no longer waited for.
        threads: texts judged at once by a function that is no coroutine function.
    """

    def __init__(self, function: Callable[..., Any], *, timeout_s: float = TIMEOUT_S, threads: int = 2):
        self._function, self._timeout_s, self._warned = function, timeout_s, False
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="check")

    async def __call__(self, attempt: Attempt) -> str:
        """The verdict on a spliced and scored attempt."""
        try:
            said = await asyncio.wait_for(self._ask(attempt), self._timeout_s)
            return _label(said)
        except Exception as error:
            # The function is not ours, and what it judges is trained with or without its judgement.
            self._warn(error)
            return ERROR

    async def _ask(self, attempt: Attempt) -> Any:
        spliced, prompt = attempt.spliced, attempt.candidate.prompt
        assert spliced is not None, "checked behind the splicing"
        call = functools.partial(
            self._function,
            query=_text_of(prompt[-1].get("content") if prompt else None),
            prefix=spliced.prefix,
            reflection=spliced.reflection,
            correction=spliced.correction,
            is_correct=bool(attempt.is_correct),
        )
        if inspect.iscoroutinefunction(self._function):
            return await call()
        said = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        return await said if inspect.isawaitable(said) else said

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            logger.warning(
                "construction.check failed (%s): the verdict is %r, and the construction stays. Said once", told, ERROR
            )


def _label(said: Any) -> str:
    if said is None or said == NO_OBJECTION:
        return NO_OBJECTION
    if not isinstance(said, str) or not _LABEL.fullmatch(said) or said in RESERVED:
        allowed = f"a label of at most 32 characters a-z, 0-9 and _, none of {', '.join(RESERVED)}, or nothing"
        raise ValueError(f"it returned {said!r:.80}: needs {allowed}")
    return said


def _text_of(content: Any) -> str:
    """A message's text; of one in parts those of type text."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or () if part.get("type") == "text")
