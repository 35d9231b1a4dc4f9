"""A small pool of child processes that run math-verify and are killed when they take too long.

Why not what exists: math-verify's own time-outs need SIGALRM, hence a main thread, and verl calls a reward function
from a thread pool. A ``ProcessPoolExecutor`` cannot kill one stuck worker: it keeps a core busy and a slot occupied
for ever. ``multiprocessing`` would import the parent's main module (Ray's worker) into each child and forbids children
of daemons. So each child is a plain ``subprocess`` with a socket.

Any number of threads may call ``VerifierPool.verify``. A child ends with its parent: at once when idle, at its own
alarm when busy.
"""

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Pipe

from tapo.rewards import verifier_child

START_LIMIT_S = 120.0  # imports from a busy network file system take long; no answer's time-out pays for them
RESTARTS = 5
"""Of a child that a signal ended while it started."""
FRESH_CRASHES = 2
"""So many fresh children must die over an answer before it is the answer's fault: the system kills some, too."""


class ChildKilled(RuntimeError):
    """A child that something else ended while it started."""


class VerifierProcess:
    """One child process. Not thread-safe: the pool lends it to one thread at a time."""

    def __init__(self) -> None:
        """Start the child and wait until it is ready. RuntimeError if it does not come up, `ChildKilled` if a signal
        ended it."""
        self._connection, theirs = Pipe()
        command = [sys.executable, verifier_child.__file__, str(theirs.fileno()), json.dumps(sys.path)]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # parsers print; stderr is kept for the traceback of a failed import
            start_new_session=True,  # Ctrl-C is for the parent
            env=os.environ | {"PYTHONHASHSEED": "0"},  # the order of sympy's search may follow the hash seed
        )
        theirs.close()
        try:
            self._receive(START_LIMIT_S)
        except (TimeoutError, EOFError, OSError) as error:
            was_killed = self._ended_by_a_signal()
            self.kill()
            raise (ChildKilled if was_killed else RuntimeError)(
                f"the math-verify process did not start ({type(error).__name__}, exit status "
                f"{self._process.returncode}, limit {START_LIMIT_S:.0f} s); is math-verify installed for "
                f"{sys.executable}? Its own message is on stderr."
            ) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, gold: str, answer: str, timeout_s: float) -> str:
        """Return the child's verdict. TimeoutError after ``timeout_s`` seconds; EOFError or OSError if the child died.

        After any exception the child's state is unknown: kill it.
        """
        request = {"gold": gold, "answer": answer, "timeout_s": timeout_s}
        self._connection.send_bytes(json.dumps(request).encode())
        return self._receive(timeout_s)

    def _receive(self, timeout_s: float) -> str:
        if not self._connection.poll(timeout_s):
            raise TimeoutError(f"no answer within {timeout_s} s")
        return json.loads(self._connection.recv_bytes())

    def _ended_by_a_signal(self) -> bool:
        """Whether the child is dead already, and not by its own exit."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its end of the socket closes a moment before the process is gone.
            return self._process.wait(1.0) < 0
        return False

    def kill(self) -> None:
        """End the child now and reap it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def started_child() -> VerifierProcess:
    """A fresh child; one that was killed while it started is started again, `RESTARTS` times at most."""
    for _ in range(RESTARTS):
        with contextlib.suppress(ChildKilled):
            return VerifierProcess()
    return VerifierProcess()


class VerifierPool:
    """Up to ``size`` children, started when first needed and replaced when killed."""

    def __init__(self, size: int) -> None:
        # Last in, first out: a child that runs is taken before another one is started (None: not started).
        self._idle: queue.LifoQueue[VerifierProcess | None] = queue.LifoQueue()
        self._size = size
        for _ in range(size):
            self._idle.put(None)

    def verify(self, gold: str, answer: str, timeout_s: float) -> str:
        """Return ``"equal"``, ``"different"``, ``"unparsable"``, ``"timeout"`` or ``"crashed"``.

        ``timeout_s`` (seconds of wall time) covers the verification, not the wait for an idle child nor its start.
        A crash counts only when it happens in fresh children, `FRESH_CRASHES` in a row: neither memory that earlier
        answers left behind nor a stray signal must decide about this one. RuntimeError if a child does not start.
        """
        process = self._idle.get()
        try:
            left_s, crashes = timeout_s, 0
            while True:
                crashes += process is None
                process = process or started_child()
                started = time.monotonic()
                try:
                    return process.ask(gold, answer, left_s)
                except BaseException as error:
                    process.kill()
                    process = None
                    if isinstance(error, TimeoutError):
                        return "timeout"
                    if not isinstance(error, EOFError | OSError):
                        raise
                    if crashes == FRESH_CRASHES:
                        return "crashed"
                    left_s = max(0.0, left_s - (time.monotonic() - started))
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """Kill the idle children; a busy one ends with its answer's time-out."""
        with contextlib.suppress(queue.Empty):
            for _ in range(self._size):
                process = self._idle.get_nowait()
                if process is not None:
                    process.kill()


_pools: dict[int, VerifierPool] = {}
_pools_lock = threading.Lock()


def shared_pool(size: int) -> VerifierPool:
    """Return this process's pool of ``size`` children, the same one for every thread."""
    with _pools_lock:
        if size not in _pools:
            _pools[size] = VerifierPool(size)
        return _pools[size]


def close_shared_pools() -> None:
    """Kill the children of this process's pools; later calls start new ones."""
    with _pools_lock:
        while _pools:
            _pools.popitem()[1].close()


def _forget_pools_after_fork() -> None:
    """A forked process must not share its parent's sockets: two askers would read each other's verdicts."""
    global _pools, _pools_lock
    _pools, _pools_lock = {}, threading.Lock()


atexit.register(close_shared_pools)
os.register_at_fork(after_in_child=_forget_pools_after_fork)
