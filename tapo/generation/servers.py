"""Any number of OpenAI-compatible servers (`vllm serve`, `sglang.launch_server`, ...) as one engine."""

import logging
from collections.abc import Sequence
from typing import Any

from tapo.generation.engine import Sample, Sampling

logger = logging.getLogger(__name__)

FAILURE_LOAD = 16
"""Requests under way that a failure in a row counts for when a server is chosen."""


class ServersFailed(RuntimeError):
    """A request that no server answered within its tries."""


class ServerEngine:
    """Sends each request to the server with the fewest under way, and to another one where that fails.

    Token ids are what the servers report where they do (`return_token_ids` of vLLM), and the text's own otherwise.

    Args:
        urls: base URLs, such as `http://host:8000/v1`.
        model: the name under which the servers serve the model.
        tokenizer: the model's, for servers that return text alone.
        timeout_s: of one try.
        tries: of one request, over all servers; the client waits longer before each further one.

    Raises:
        ValueError: no URL, or a number out of range.
    """

    def __init__(self, urls: Sequence[str], model: str, tokenizer: Any, *, timeout_s: float = 3600.0, tries: int = 5):
        from openai import AsyncOpenAI

        if not urls:
            raise ValueError("server = [] cannot work: needs at least one base URL")
        if timeout_s <= 0 or tries < 1:
            raise ValueError(f"timeout_s = {timeout_s}, tries = {tries} cannot work: need > 0 and >= 1")
        self._clients = [
            AsyncOpenAI(base_url=url, api_key="none", timeout=timeout_s, max_retries=0) for url in dict.fromkeys(urls)
        ]
        self._under_way = [0] * len(self._clients)
        self._failures = [0] * len(self._clients)
        self._model, self._tokenizer, self._tries = model, tokenizer, tries

    async def sample(self, prompt_ids: Sequence[int], sampling: Sampling, *, n: int, seed: int) -> list[Sample]:
        """See `Engine`.

        Raises:
            ServersFailed: no server answered, after as many tries as were allowed.
        """
        from openai import APIConnectionError, APIStatusError
        from tenacity import AsyncRetrying, RetryError, retry_if_exception, stop_after_attempt, wait_random_exponential

        def may_pass(error: BaseException) -> bool:
            # A request that a server refuses (4xx) it refuses again, but for time-outs, conflicts and rate limits.
            if isinstance(error, APIStatusError):
                return error.status_code >= 500 or error.status_code in (408, 409, 429)
            return isinstance(error, APIConnectionError | IncompleteAnswer)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._tries),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            retry=retry_if_exception(may_pass),
        )
        try:
            return await retrying(self._ask, list(prompt_ids), sampling, n, seed)
        except RetryError as error:
            cause = error.last_attempt.exception()
            raise ServersFailed(f"no server answered in {self._tries} tries; the last one: {cause}") from cause
        except APIStatusError as error:
            raise ServersFailed(f"{error.request.url} refused a request: {error}") from error

    async def _ask(self, prompt_ids: list[int], sampling: Sampling, n: int, seed: int) -> list[Sample]:
        # A server that fails is asked again, but only when the others are busy.
        load = [busy + FAILURE_LOAD * failed for busy, failed in zip(self._under_way, self._failures, strict=True)]
        server = load.index(min(load))
        self._under_way[server] += 1
        try:
            answer = await self._clients[server].completions.create(
                model=self._model,
                prompt=prompt_ids,
                n=n,
                seed=seed,
                extra_body={"return_token_ids": True},
                **sampling.part(Sampling),
            )
            if len(answer.choices) != n:
                raise IncompleteAnswer(f"{len(answer.choices)} of {n} responses")
        except Exception as error:
            self._failures[server] += 1
            logger.warning("%s: %s", self._clients[server].base_url, error)
            raise
        finally:
            self._under_way[server] -= 1
        self._failures[server] = 0
        return [self._sample(choice) for choice in sorted(answer.choices, key=lambda choice: choice.index)]

    def _sample(self, choice: Any) -> Sample:
        ids = getattr(choice, "token_ids", None)
        if ids is None:
            ids = self._tokenizer.encode(choice.text, add_special_tokens=False)
        return Sample(list(ids), "length" if choice.finish_reason == "length" else "stop")

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()


class IncompleteAnswer(Exception):
    """A server returned another number of responses than asked for."""
