"""Runs a command and ends with it whatever it has started: `python keeper.py LOCK -- COMMAND...`

A comparison starts each of its runs by way of a keeper, and holds the other end of its standard input. When that closes
(the comparison was killed, however) or a SIGTERM comes, the command and all that descends from it is ended, also what
has a session of its own, as Ray's processes do. LOCK keeps a run that is started again from meeting one that still
ends.
"""

import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

import psutil

POLL_S = 0.2
GRACE_S = 10.0
"""Seconds from the request to end until the order."""
PR_SET_CHILD_SUBREAPER = 36


class Ended(Exception):
    """A SIGTERM came, or the comparison is gone."""


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process, so that none is lost (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_lock(path: str) -> int:
    """The lock's descriptor, which lives as long as this process."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            pause()


def pause() -> None:
    """A moment; `Ended` if the other end of standard input is closed."""
    if select.select([sys.stdin], [], [], POLL_S)[0] and not os.read(sys.stdin.fileno(), 1):
        raise Ended


def end_descendants() -> None:
    """Ask every descendant to end, and after a while see to it; collects their statuses."""
    deadline = time.monotonic() + GRACE_S
    order = signal.SIGTERM
    while descendants := living():
        for process in descendants:
            try:
                process.send_signal(order)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(descendants, timeout=max(0.1, deadline - time.monotonic()))
        order = signal.SIGKILL


def living() -> list[psutil.Process]:
    """Descendants that have not ended; those that have, and are this process's to collect, are collected."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return []
    return [one for one in psutil.Process().children(recursive=True) if runs(one)]


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def keep(lock: str, command: list[str]) -> int:
    """The command's exit status, 128 + N where signal N ended it, or 143 where the comparison did."""
    adopt_orphans()
    status = 128 + signal.SIGTERM
    try:
        wait_for_lock(lock)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while process.poll() is None:
            pause()
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    except Ended:
        pass
    except OSError as error:  # no such program, say
        print(f"{command[0]}: {error}", file=sys.stderr)
        status = 127
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_descendants()
    return status


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise Ended


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _on_sigterm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lock, dashes, *rest = sys.argv[1:]
    assert dashes == "--" and rest, "LOCK -- COMMAND..."
    sys.exit(keep(lock, rest))
