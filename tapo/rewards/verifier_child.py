"""What a verifier child process runs: math-verify on one answer at a time, until its parent goes away.

Started by ``tapo.rewards.verifier_pool`` as a script, with the number of an inherited socket and the parent's
``sys.path``. It imports nothing of this package, so that it starts fast and stays small.

It speaks JSON over the socket: ``"ready"`` once after the imports, then for each ``{"gold", "answer", "timeout_s"}``
one of the verdicts ``"equal"``, ``"different"`` and ``"unparsable"``.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection

MEMORY_LIMIT_BYTES = 1 << 30  # address space; math-verify and sympy take about 60 MB of it
PARENT_POLL_S = 10.0  # how often an idle child looks whether its parent still lives
ALARM_GRACE_S = 1.0  # the parent kills at the time-out; the child's own alarm follows, in case the parent is gone


def judge(gold: str, answer: str) -> str:
    """Return ``"equal"``, ``"different"`` or, if no expression can be read in ``answer``, ``"unparsable"``.

    Takes as long and as much memory as it takes: math-verify's own time-outs are off, the process is the limit.
    """
    from math_verify import LatexExtractionConfig, parse, verify
    from sympy import Basic, MatrixBase

    # LaTeX only: the plain-number extractor would pick the last number out of an answer that LaTeX cannot read, so
    # that "\approx 82" and even "\frac{ 82" would equal 82.
    config = [LatexExtractionConfig()]
    parsed_gold = parse(_as_latex(gold), config, parsing_timeout=None)
    parsed_answer = parse(_as_latex(answer), config, parsing_timeout=None)
    if verify(parsed_gold, parsed_answer, timeout_seconds=None):
        return "equal"
    if any(isinstance(expression, Basic | MatrixBase) for expression in parsed_answer):
        return "different"
    return "unparsable"


def _as_latex(text: str) -> str:
    r"""Wrap ``text`` so that math-verify takes the whole of it; it knows a percent sign only outside of the box."""
    number = text.removesuffix("%").removesuffix("\\").rstrip()
    return f"$\\boxed{{{number}}}$%" if text.endswith("%") else f"\\boxed{{{text}}}"


def limit_this_process() -> None:
    """Cap memory, write no core files, and let SIGALRM end the process even where a parent blocks or ignores it."""
    import resource

    for limit, wanted in ((resource.RLIMIT_AS, MEMORY_LIMIT_BYTES), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # Some systems (macOS) refuse RLIMIT_AS; the time-out still holds there.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (allowed, hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


def serve(connection: Connection) -> None:
    """Answer requests until the parent closes the connection or is gone."""
    parent = os.getppid()
    connection.send_bytes(json.dumps("ready").encode())
    while True:
        # An end of file alone is not enough: a process that the parent forked may still hold the parent's end.
        while not connection.poll(PARENT_POLL_S):
            if os.getppid() != parent:
                return
        request = json.loads(connection.recv_bytes())
        # The kernel's default action needs no Python: it also ends a child that is stuck inside one big-integer power.
        signal.setitimer(signal.ITIMER_REAL, request["timeout_s"] + ALARM_GRACE_S)
        verdict = judge(request["gold"], request["answer"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send_bytes(json.dumps(verdict).encode())


def main() -> None:
    fd, search_path = int(sys.argv[1]), json.loads(sys.argv[2])
    sys.path[:] = search_path
    limit_this_process()
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time-outs are off
    judge("1/2", "0.5")  # imports and compiled patterns are start-up, which no answer's time-out pays for
    with contextlib.suppress(EOFError, ConnectionError):
        serve(Connection(fd))


if __name__ == "__main__":
    main()
