"""vLLM in a process of ours, as far as what it says of its responses goes."""

import itertools
from types import SimpleNamespace

import pytest

from tapo.generation.engine import TRIES, EngineFailed, InProcessEngine, Sampling


class Vllm:
    """Ends the responses of each request as the next item of a script says."""

    def __init__(self, *script):
        self.script, self.requests = list(script), []

    async def generate(self, prompt, parameters, request_id):
        self.requests.append(request_id)
        reasons = self.script.pop(0)
        outputs = [SimpleNamespace(index=i, token_ids=(i, 9), finish_reason=said) for i, said in enumerate(reasons)]
        for output in reversed(outputs):
            yield SimpleNamespace(outputs=[output])


async def sample(vllm):
    engine = object.__new__(InProcessEngine)
    engine._engine, engine._numbers = vllm, itertools.count()
    return await engine.sample([1, 2], Sampling(), n=2, seed=3)


async def test_responses_end_by_themselves_or_by_their_length():
    samples = await sample(Vllm(["stop", "length"]))
    assert [(one.ids, one.finish_reason) for one in samples] == [([0, 9], "stop"), ([1, 9], "length")]


@pytest.mark.parametrize("reasons", [["stop", "abort"], ["error", "stop"], [None, None], ["stop"]])
async def test_a_response_that_vllm_gives_up_is_no_answer_and_is_asked_for_again(reasons):
    vllm = Vllm(reasons, ["stop", "stop"])
    assert [one.finish_reason for one in await sample(vllm)] == ["stop", "stop"]
    assert vllm.requests == ["0", "1"]
    with pytest.raises(EngineFailed, match=rf"in {TRIES} tries; the last one: (a response ended by|1 of 2 responses)"):
        await sample(Vllm(*[reasons] * TRIES))
