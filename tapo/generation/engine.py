"""Engines: token ids in, samples out. Here vLLM in a process of ours; servers are in `tapo.generation.servers`."""

import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from tapo.options import AtLeastOne, Needs, NotNegative, Options

SEED_RANGE = 1 << 31
CPU_DEFAULTS = {
    "dtype": "float32",
    "enforce_eager": True,
    # Sampling with a seed behind part of a prompt rewinds the generator, which PyTorch's CPU generator cannot.
    "enable_chunked_prefill": False,
}
"""Engine arguments where vLLM runs on a CPU and the user has not set them."""
FINISH_REASONS = ("stop", "length")
"""Why a response ends. Whatever else an engine says, `abort` for one, the response is part of one."""
TRIES = 3
"""Of a prompt in the process's own engine."""


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


class EngineFailed(RuntimeError):
    """A prompt that was not answered within its tries."""


class IncompleteAnswer(Exception):
    """An answer that is not the responses that were asked for."""


def finish_reason(said: Any) -> str:
    """Why a response ended, as an engine says it; `IncompleteAnswer` if it did not end by itself or by its length."""
    if said not in FINISH_REASONS:
        raise IncompleteAnswer(f"a response ended by {said!r:.40}, needs {' or '.join(FINISH_REASONS)}")
    return said


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
        """See `Engine`; `EngineFailed` where vLLM gives up a response again and again."""
        for left in reversed(range(TRIES)):
            try:
                return await self._sample(list(prompt_ids), sampling, n, seed)
            except IncompleteAnswer as error:
                if not left:
                    raise EngineFailed(
                        f"vLLM did not answer a prompt in {TRIES} tries; the last one: {error}"
                    ) from error
        raise AssertionError("unreachable")

    async def _sample(self, prompt_ids: list[int], sampling: Sampling, n: int, seed: int) -> list[Sample]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            n=n, seed=seed, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY, **sampling.part(Sampling)
        )
        prompt = {"prompt_token_ids": prompt_ids}
        outputs = {}
        async for result in self._engine.generate(prompt, parameters, request_id=str(next(self._numbers))):
            outputs.update({output.index: output for output in result.outputs})
        if len(outputs) != n:
            raise IncompleteAnswer(f"{len(outputs)} of {n} responses")
        return [
            Sample(list(output.token_ids), finish_reason(output.finish_reason)) for _, output in sorted(outputs.items())
        ]

    async def close(self) -> None:
        """End vLLM's processes."""
        self._engine.shutdown()
