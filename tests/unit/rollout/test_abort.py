"""Requests whose caller no longer waits are ended in the engine, through verl's own client; a real engine is in
tests/e2e/test_main_ppo.py."""

import asyncio
import copy
from types import SimpleNamespace

import pytest
import ray
from omegaconf import OmegaConf
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from tapo.rollout.abort import aborting

CONFIG = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm", "response_length": 8}}})


def remote(function):
    return SimpleNamespace(remote=function)


class Server:
    """A server's handle; its answers are futures, as Ray's are awaited."""

    def __init__(self, manager=None):
        self.generate = remote(self._generate)
        self.answers, self.requests = [], []
        self.__ray_call__ = remote(lambda function, *args: function(SimpleNamespace(**manager or {}), *args))

    def _generate(self, **request):
        self.requests.append(copy.deepcopy(request))
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


class Balancer:
    """verl's load balancer over one server."""

    def __init__(self, server):
        self.served = 0

        async def fields():
            return []

        async def acquire(request_id):
            self.served += 1
            return "server", server

        def release(server_id):
            self.served -= 1

        self.require_acquire_fields = self.require_release_fields = remote(fields)
        self.acquire_server, self.release_server = remote(acquire), remote(release)


@pytest.fixture
def cancelled(monkeypatch):
    refs = []
    monkeypatch.setattr(ray, "cancel", refs.append)
    return refs


async def begin(client, server):
    answer = asyncio.ensure_future(
        client.generate(request_id="uid_ref_8_0", prompt_ids=[1, 2], sampling_params={"max_tokens": 4})
    )
    while not server.answers:
        await asyncio.sleep(0)
    return answer


@pytest.mark.parametrize("of", [LLMServerClient, FullyAsyncLLMServerClient])
async def test_an_answer_is_the_servers_and_nothing_is_ended(cancelled, of):
    server = Server()
    balancer = Balancer(server)
    answer = await begin(aborting(of(CONFIG, balancer)), server)
    output = TokenOutput(token_ids=[3, 0], stop_reason="completed", extra_fields={"global_steps": 5})
    server.answers[0].set_result(output)
    assert list((await answer).token_ids) == [3, 0] and (await answer).extra_fields["global_steps"] == 5
    assert server.requests[0]["prompt_ids"] == [1, 2] and server.requests[0]["sampling_params"] == {"max_tokens": 4}
    assert balancer.served == 0 and cancelled == []


@pytest.mark.parametrize("of", [LLMServerClient, FullyAsyncLLMServerClient])
async def test_a_request_that_nobody_waits_for_is_ended_in_its_engine_and_its_server_let_go(cancelled, of):
    aborted = []
    server = Server({"tokenizer_manager": SimpleNamespace(abort_request=lambda rid: aborted.append(rid))})
    balancer = Balancer(server)
    answer = await begin(aborting(of(CONFIG, balancer)), server)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(answer, 0.01)
    assert cancelled == server.answers and aborted == [server.requests[0]["request_id"]]
    assert balancer.served == 0


async def test_a_server_that_is_no_sglang_is_told_nothing_else(cancelled):
    server = Server()
    answer = await begin(aborting(LLMServerClient(CONFIG, Balancer(server))), server)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert cancelled == server.answers


async def test_the_rollouts_own_client_is_left_as_it_is(cancelled):
    server = Server()
    client = LLMServerClient(CONFIG, Balancer(server))
    assert aborting(client) is not client and "_acquire_server" not in vars(client)
    answer = await begin(client, server)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert cancelled == []
    without_servers = SimpleNamespace(generate=None)
    assert aborting(without_servers) is without_servers
