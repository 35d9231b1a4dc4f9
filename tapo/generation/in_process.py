"""vLLM in a process of ours."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

from tapo.generation.engine import Sample, Sampling

CPU_DEFAULTS = {
    "dtype": "float32",
    "enforce_eager": True,
    # Sampling with a seed behind part of a prompt rewinds the generator, which PyTorch's CPU generator cannot.
    "enable_chunked_prefill": False,
}
"""Engine arguments where vLLM runs on a CPU and the user has not set them."""


class InProcessEngine:
    """vLLM's asynchronous engine, which batches whatever calls are under way.

    Args:
        model: a Hugging Face folder or name.
        options: further fields of vLLM's `AsyncEngineArgs` (`tensor_parallel_size`, `max_model_len`, `dtype`, ...).

    Raises:
        ValueError: an option that vLLM does not know.
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
