"""Servers that answer with anything: a request gets whole responses, or one error that names a server."""

import asyncio
import json
import logging
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tapo.generation.engine import Sampling
from tapo.generation.servers import ServerEngine, ServersFailed

KINDS = ["good"] * 3 + ["status", "body", "field", "cut", "close", "slow"]
BODIES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\x00\xff",
    b"<html>no</html>",
    b'{"choices":null}',
    b'{"choices":[{}]}',
    b"1e999",
]
FIELDS = {
    "index": [None, -1, 7, "0", 1.5, True],
    "finish_reason": [None, "abort", "error", 3, []],
    "token_ids": [[-1], ["1"], "12", 5, [1.5], [None], {}, [True]],
    "text": [None, 5, []],
}
TRUE_IDS = [[11, 12, 0], [13, 0]]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        draw = self.server.draw
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = draw.choice(KINDS)
        choices = [
            {"index": i, "text": "t", "finish_reason": "stop", "logprobs": None, "token_ids": ids}
            for i, ids in enumerate(TRUE_IDS)
        ]
        status = draw.choice([400, 404, 408, 409, 422, 429, 500, 502, 503, 529]) if kind == "status" else 200
        if kind == "field":
            name = draw.choice(list(FIELDS))
            draw.choice(choices)[name] = draw.choice(FIELDS[name])
        answer = {"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": choices}
        body = draw.choice(BODIES) if kind == "body" else json.dumps(answer).encode()
        if kind == "close":
            return self.connection.close()
        if kind == "slow":
            time.sleep(1.5)
        try:
            self.send_response(status)
            self.send_header("Content-Type", draw.choice(["application/json", "text/html", "application/octet-stream"]))
            self.send_header("Content-Length", str(len(body)))
            if status == 429:
                self.send_header("Retry-After", draw.choice(["0", "0.1", "nan", "-5", "soon"]))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if kind == "cut" else body)
        except OSError:
            pass
        self.close_connection = True


def test_servers(tally, monkeypatch, caplog):
    """Requests to servers that fail in every way."""
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("tapo.generation.servers.LONGEST_WAIT_S", 0.05)
    servers = []
    for seed in (0, 1):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.draw = True, random.Random(seed)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    urls = [f"http://127.0.0.1:{server.server_address[1]}/v1" for server in servers]
    answered = failed = 0

    async def ask(engine):
        nonlocal answered, failed
        with tally.input():
            try:
                samples = await engine.sample([1, 2], Sampling(), n=2, seed=3)
            except ServersFailed as error:
                failed += 1
                if "127.0.0.1" not in str(error):
                    tally.wrong.append(str(error))
                return
            except Exception as error:
                tally.wrong.append(repr(error))
                return
        answered += 1
        if [sample.ids for sample in samples] != TRUE_IDS and samples[0].ids != []:
            # A text in place of ids is none of these servers' ways; what they say of ids is all there is.
            tally.wrong.append(samples)

    async def run():
        engine = ServerEngine(urls, "m", None, timeout_s=1.0, tries=4)
        for _ in range(40):
            await asyncio.gather(*(ask(engine) for _ in range(8)))
        await engine.close()
        tally.leaks += [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    asyncio.run(run())
    for server in servers:
        server.shutdown()
    assert answered > 150 and failed > 5
