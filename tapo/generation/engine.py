"""Engines: token ids in, samples out. vLLM in a process of ours, or servers anywhere."""

import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from tapo.options import AtLeastOne, Needs, NotNegative, Options

logger = logging.getLogger(__name__)

SEED_RANGE = 1 << 31
CPU_DEFAULTS = {
    "dtype": "float32",
    "enforce_eager": True,
    # Sampling with a seed behind part of a prompt rewinds the generator, which PyTorch's CPU generator cannot.
    "enable_chunked_prefill": False,
}
"""Engine arguments where vLLM runs on a CPU and the user has not set them."""
FAILURE_LOAD = 16
"""Requests to a server under way that a failure of it in a row counts for when one is chosen."""


class Sampling(Options):
    """How to draw a response."""

    temperature: NotNegative = 1.0
    """0 samples greedily."""
    top_p: Annotated[float, Needs("0 < top_p <= 1", lambda share: 0 < share <= 1)] = 1.0
    """Nucleus."""
    max_tokens: AtLeastOne = 8192
    """Of a response."""


@dataclass(frozen=True)
class Sample:
    """One response: its ids as sampled, the end-of-sequence token included where it was sampled, and `stop`, or
    `length` where `max_tokens` ended it."""

    ids: list[int]
    finish_reason: str


class Engine(Protocol):
    """Samples from one model; any number of calls may be under way at once."""

    async def sample(self, prompt_ids: Sequence[int], sampling: Sampling, *, n: int, seed: int) -> list[Sample]:
        """`n` responses to a prompt; with the same seed the same ones, as far as the engine is deterministic."""

    async def close(self) -> None:
        """Release processes and connections."""


def derived_seed(seed: int, *parts: object) -> int:
    """A seed for one request, from the run's seed and what tells the request apart; independent of any order."""
    digest = hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEED_RANGE


class InProcessEngine:
    """vLLM's asynchronous engine, which batches whatever calls are under way.

    Args:
        model: a Hugging Face folder or name.
        options: further fields of vLLM's `AsyncEngineArgs` (`tensor_parallel_size`, `max_model_len`, `dtype`, ...);
            ValueError if it does not know one.
    """

    def __init__(self, model: str, **options: Any):
        # vLLM's hundred lines of start-up would tear the progress bar apart; a level of the user's own stays.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        # verl's plugins register the platform that `VERL_PLATFORM` names, which vLLM must meet on a CPU.
        import verl  # noqa: F401
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        if current_platform.is_cpu():
            options = {**CPU_DEFAULTS, **options}
        try:
            arguments = AsyncEngineArgs(model=model, enable_log_requests=False, disable_log_stats=True, **options)
        except TypeError as error:
            raise ValueError(f"engine options {sorted(options)} cannot work: {error}") from error
        self._engine = AsyncLLM.from_engine_args(arguments)
        self._numbers = itertools.count()

    async def sample(self, prompt_ids: Sequence[int], sampling: Sampling, *, n: int, seed: int) -> list[Sample]:
        """See `Engine`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            n=n, seed=seed, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY, **sampling.part(Sampling)
        )
        prompt = {"prompt_token_ids": list(prompt_ids)}
        outputs = {}
        async for result in self._engine.generate(prompt, parameters, request_id=str(next(self._numbers))):
            outputs.update({output.index: output for output in result.outputs})
        assert len(outputs) == n, f"{len(outputs)} of {n} responses"
        return [
            Sample(list(output.token_ids), "length" if output.finish_reason == "length" else "stop")
            for _, output in sorted(outputs.items())
        ]

    async def close(self) -> None:
        """End vLLM's processes."""
        self._engine.shutdown()


class ServersFailed(RuntimeError):
    """A request that no server answered within its tries."""


class ServerEngine:
    """Sends each request to the server with the fewest under way, and to another one where that fails.

    Token ids are what the servers report where they do (`return_token_ids` of vLLM), and the text's own otherwise.

    Args:
        urls: base URLs, such as `http://host:8000/v1`; ValueError if there is none.
        model: the name under which the servers serve the model.
        tokenizer: the model's, for servers that return text alone.
        timeout_s: of one try.
        tries: of one request, over all servers; the client waits longer before each further one.
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
        """See `Engine`; `ServersFailed` where no server answered, after as many tries as were allowed."""
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
