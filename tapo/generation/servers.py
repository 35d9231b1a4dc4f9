"""OpenAI-compatible servers as an engine: requests dealt to them, tried again, and their answers checked."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from tapo.generation.engine import EngineFailed, IncompleteAnswer, Sample, Sampling, finish_reason

logger = logging.getLogger(__name__)

FAILURE_LOAD = 16
"""Requests to a server under way that a failure of it in a row counts for when one is chosen."""
LONGEST_WAIT_S = 30.0
"""Between two tries of a request, where the server does not say how long."""
LONGEST_RETRY_AFTER_S = 600.0
"""The most that is waited because a server says so."""
MAY_PASS = (408, 409, 429)
"""Refusals (4xx) after which the same request may succeed: time-outs, conflicts, rate limits."""


class ServersFailed(EngineFailed):
    """A request that no server answered within its tries."""


class ServerEngine:
    """Sends each request to the server with the fewest under way, and to another one where that fails.

    Token ids are what the servers report where they do (`return_token_ids` of vLLM), and the text's own otherwise.

    Args:
        urls: base URLs, such as `http://host:8000/v1`; ValueError if there is none.
        model: the name under which the servers serve the model.
        tokenizer: the model's, for servers that return text alone.
        timeout_s: of one try, from the request to the last byte of its answer.
        tries: of one request, over all servers; the client waits longer before each further one, and as long as a
            server asks for.
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
        self._model, self._tokenizer, self._tries, self._timeout_s = model, tokenizer, tries, timeout_s

    async def sample(self, prompt_ids: Sequence[int], sampling: Sampling, *, n: int, seed: int) -> list[Sample]:
        """See `Engine`; `ServersFailed` where no server answered, after as many tries as were allowed."""
        from openai import APIStatusError
        from tenacity import AsyncRetrying, RetryError, retry_if_exception, stop_after_attempt

        retrying = AsyncRetrying(stop=stop_after_attempt(self._tries), wait=waits(), retry=retry_if_exception(may_pass))
        try:
            return await retrying(self._ask, list(prompt_ids), sampling, n, seed)
        except RetryError as error:
            cause = error.last_attempt.exception()
            url = getattr(getattr(cause, "request", None), "url", None)
            last = f"{url}: {cause}" if url else cause
            raise ServersFailed(f"no server answered in {self._tries} tries; the last one: {last}") from cause
        except APIStatusError as error:
            raise ServersFailed(f"{error.request.url} refused a request: {error}") from error

    async def _ask(self, prompt_ids: list[int], sampling: Sampling, n: int, seed: int) -> list[Sample]:
        # A server that fails is asked again, but only when the others are busy.
        load = [busy + FAILURE_LOAD * failed for busy, failed in zip(self._under_way, self._failures, strict=True)]
        server = load.index(min(load))
        self._under_way[server] += 1
        try:
            samples = await self._ask_server(server, prompt_ids, sampling, n, seed)
        except Exception as error:
            self._failures[server] += 1
            logger.warning("%s: %s", self._clients[server].base_url, error)
            raise
        finally:
            self._under_way[server] -= 1
        self._failures[server] = 0
        return samples

    async def _ask_server(
        self, server: int, prompt_ids: list[int], sampling: Sampling, n: int, seed: int
    ) -> list[Sample]:
        """Ask one server once; `IncompleteAnswer`, which names it, where what it says is not what was asked for."""
        from openai import APIResponseValidationError

        client = self._clients[server]
        try:
            asking = client.completions.create(
                model=self._model,
                prompt=prompt_ids,
                n=n,
                seed=seed,
                extra_body={"return_token_ids": True},
                **sampling.part(Sampling),
            )
            # The client's own time-out is of each read, which a server that sends a byte now and then never meets.
            answer = await asyncio.wait_for(asking, self._timeout_s)
            return read_choices(answer, n, self._tokenizer)
        except asyncio.TimeoutError as error:
            raise IncompleteAnswer(f"{client.base_url} did not answer within {self._timeout_s:g} s") from error
        except IncompleteAnswer as error:
            raise IncompleteAnswer(f"{client.base_url}: {error}") from error
        except (APIResponseValidationError, ValueError) as error:
            raise IncompleteAnswer(f"{client.base_url} answers with what is no completion: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()


def read_choices(answer: Any, n: int, tokenizer: Any) -> list[Sample]:
    """The responses of an answer, in their order.

    Raises:
        IncompleteAnswer: it is no answer, or does not hold `n` whole responses.
    """
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list):
        raise IncompleteAnswer(f"got {answer!r:.80}, needs an answer with choices")
    indices = [getattr(choice, "index", None) for choice in choices]
    if len(choices) != n:
        raise IncompleteAnswer(f"{len(choices)} of {n} responses")
    if {index for index in indices if isinstance(index, int)} != set(range(n)):
        raise IncompleteAnswer(f"responses numbered {indices!r:.80}, needs each of 0 to {n - 1} once")
    return [read_choice(choice, tokenizer) for _, choice in sorted(zip(indices, choices, strict=True))]


def read_choice(choice: Any, tokenizer: Any) -> Sample:
    """One response; `IncompleteAnswer` if it did not end, or its ids or text are none."""
    reason, ids = finish_reason(getattr(choice, "finish_reason", None)), getattr(choice, "token_ids", None)
    if ids is None:
        text = getattr(choice, "text", None)
        if not isinstance(text, str):
            raise IncompleteAnswer(f"a response with the text {text!r:.40}")
        ids = tokenizer.encode(text, add_special_tokens=False)
    if not isinstance(ids, list) or not all(type(token) is int and token >= 0 for token in ids):
        raise IncompleteAnswer(f"a response with the token ids {ids!r:.40}")
    return Sample(list(ids), reason)


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return error.status_code >= 500 or error.status_code in MAY_PASS
    return isinstance(error, APIConnectionError | IncompleteAnswer)


def waits() -> Any:
    """Seconds in front of a further try: drawn from a range that doubles, or what the server says in `Retry-After`."""
    from tenacity import wait_random_exponential

    drawn = wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_S)

    def wait(state: Any) -> float:
        return max(drawn(state), retry_after(state.outcome.exception()))

    return wait


def retry_after(error: BaseException | None) -> float:
    """Seconds that a refusal asks to wait for, at most `LONGEST_RETRY_AFTER_S`; 0 where it says none."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return 0.0
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)
