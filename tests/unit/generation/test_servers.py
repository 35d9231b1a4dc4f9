"""OpenAI-compatible servers that fail, hang, refuse, or say too little."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tapo.generation.engine import Sampling
from tapo.generation.servers import LONGEST_RETRY_AFTER_S, ServerEngine, ServersFailed, retry_after

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=5)


class Server(ThreadingHTTPServer):
    """Answers each completion as the next item of `script` says, and `ok` when it has run out."""

    daemon_threads = True

    def __init__(self, *script, with_ids=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.with_ids, self.requests = list(script), with_ids, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        step = self.server.script.pop(0) if self.server.script else "ok"
        if step == "hang":
            time.sleep(3)
        if isinstance(step, tuple):
            status, seconds = step
            return self.reply(status, b"{}", {"Retry-After": str(seconds)})
        if isinstance(step, int):
            return self.reply(step, json.dumps({"error": {"message": f"status {step}"}}).encode())
        if isinstance(step, bytes):
            return self.reply(200, step, {"Content-Type": "text/html"} if step.startswith(b"<") else {})
        n = request["n"] - (step == "short")
        choices = [self.choice(i) for i in reversed(range(n))]
        if isinstance(step, dict):
            choices[0] |= step
        answer = {"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": choices}
        self.reply(200, json.dumps(answer).encode(), drips=step == "drip")

    def choice(self, index):
        choice = {"index": index, "text": f"t{index}", "finish_reason": "length" if index else "stop", "logprobs": None}
        return choice | ({"token_ids": [index, 9]} if self.server.with_ids else {})

    def reply(self, status, body, headers=None, drips=False):
        try:
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for byte in body if drips else ():
                self.wfile.write(bytes([byte]))
                time.sleep(0.1)
            self.wfile.write(b"" if drips else body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client no longer waits


def ask(*servers, n=2, tokenizer=None, **options):
    async def run():
        engine = ServerEngine([server.url for server in servers], "m", tokenizer, **options)
        try:
            return await engine.sample([1, 2, 3], SAMPLING, n=n, seed=11)
        finally:
            await engine.close()

    return asyncio.run(run())


def test_a_request_carries_ids_sampling_and_seed_and_the_answers_own_ids_come_back_in_order():
    server = Server()
    samples = ask(server)
    assert [(sample.ids, sample.finish_reason) for sample in samples] == [([0, 9], "stop"), ([1, 9], "length")]
    [request] = server.requests
    wanted = {"prompt": [1, 2, 3], "n": 2, "seed": 11, "temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "model": "m"}
    assert {key: request[key] for key in wanted} == wanted


def test_a_server_that_returns_text_alone_has_it_tokenised(byte_tokenizer):
    [sample] = ask(Server(with_ids=False), n=1, tokenizer=byte_tokenizer)
    assert sample.ids == byte_tokenizer.encode("t0", add_special_tokens=False)


@pytest.mark.parametrize("fault", [500, 429, "short", "hang", "drip"])
def test_a_fault_that_may_pass_is_tried_again(fault):
    server = Server(fault)
    assert len(ask(server, timeout_s=1.5)) == 2
    assert len(server.requests) == 2


def test_the_next_try_goes_to_another_server():
    broken, good = Server(500, 500, 500), Server()
    assert len(ask(broken, good, tries=2)) == 2
    assert (len(broken.requests), len(good.requests)) == (1, 1)


def test_tries_are_bounded_and_the_last_fault_is_named():
    server = Server(500, 503, 500)
    with pytest.raises(ServersFailed, match=r"no server answered in 2 tries; the last one: .*503"):
        ask(server, tries=2)
    assert len(server.requests) == 2


def test_a_refused_request_is_not_tried_again():
    server = Server(400)
    with pytest.raises(ServersFailed, match=r"/v1/completions refused a request: .*400"):
        ask(server)
    assert len(server.requests) == 1


GARBAGE = {
    "html": b"<html>502 Bad Gateway</html>",
    "null": b"null",
    "number": b"3",
    "string": b'"ok"',
    "list": b"[]",
    "empty": b"",
    "no JSON": b'{"choices": [',
    "no choices": b"{}",
    "choices null": b'{"choices": null}',
    "choices of another kind": b'{"choices": [1, 2]}',
    "aborted": {"finish_reason": "abort"},
    "finish reason null": {"finish_reason": None},
    "finish reason of another kind": {"finish_reason": ["stop"]},
    "negative ids": {"token_ids": [-1, 4]},
    "ids of another kind": {"token_ids": ["4"]},
    "true for an id": {"token_ids": [True]},
    "ids that are no list": {"token_ids": "45"},
    "an index twice": {"index": 0},
    "an index of another kind": {"index": "1"},
    "neither ids nor text": {"token_ids": None, "text": None},
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=list(GARBAGE))
def test_what_is_no_whole_answer_is_tried_again_and_names_its_server(garbage):
    server = Server(garbage)
    assert [sample.ids for sample in ask(server)] == [[0, 9], [1, 9]] and len(server.requests) == 2
    server = Server(garbage, garbage)
    with pytest.raises(ServersFailed, match=rf"no server answered in 2 tries; the last one: {server.url}/.*"):
        ask(server, tries=2)


def test_a_try_ends_in_its_time_whatever_trickles_in():
    server, begin = Server("drip", "drip"), time.monotonic()
    with pytest.raises(ServersFailed, match=rf"the last one: {server.url}/ did not answer within 0.5 s"):
        ask(server, timeout_s=0.5, tries=2)
    assert time.monotonic() - begin < 5


def test_a_server_that_says_how_long_to_wait_is_waited_for():
    server, begin = Server((429, 1.5)), time.monotonic()
    assert len(ask(server)) == 2 and time.monotonic() - begin > 1.5


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("-3", 0), ("soon", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("1e9", 600), ("nan", 0), (None, 0)],
)
def test_what_a_server_says_of_waiting_is_bounded(said, seconds):
    refusal = SimpleNamespace(response=SimpleNamespace(headers={} if said is None else {"retry-after": said}))
    assert retry_after(refusal) == min(seconds, LONGEST_RETRY_AFTER_S) and retry_after(ValueError()) == 0


def test_requests_spread_over_the_servers():
    servers = [Server(), Server()]

    async def run():
        engine = ServerEngine([server.url for server in servers], "m", None)
        await asyncio.gather(*(engine.sample([1], SAMPLING, n=1, seed=i) for i in range(10)))
        await engine.close()

    asyncio.run(run())
    assert [len(server.requests) for server in servers] == [5, 5]


@pytest.mark.parametrize(
    ("urls", "options"), [([], {}), (["http://x"], {"tries": 0}), (["http://x"], {"timeout_s": 0})]
)
def test_what_cannot_work_is_refused(urls, options):
    with pytest.raises(ValueError, match="cannot work"):
        ServerEngine(urls, "m", None, **options)
