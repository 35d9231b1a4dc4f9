"""What the processes of a run have cost."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

KINDS = {"SimulatedWorker": "workers", "RewardLoopWorker": "rewards", "SimpleStorageUnit": "transfer"}
KINDS |= {"TransferQueueController": "transfer", "SimulatedEngine": "engine"}
"""Of Ray actors by their classes; any other is `other`."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of all processes of a kind, and the peak of the largest in MiB."""

    seconds: float
    peak_mib: float


def processes() -> Iterator[tuple[str, psutil.Process]]:
    """The processes that this one has started, each with its kind."""
    for process in psutil.Process().children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        match = re.match(r"ray::(?:\w+:)?(\w+)", title)
        yield (KINDS.get(match[1], "other") if match else "other"), process


def costs() -> dict[str, Cost]:
    """By kind; `trainer` is this process."""
    found: dict[str, Cost] = {"trainer": _cost(psutil.Process())}
    for kind, process in processes():
        try:
            cost = _cost(process)
        except (psutil.Error, OSError):
            continue
        before = found.get(kind, Cost(0.0, 0.0))
        found[kind] = Cost(before.seconds + cost.seconds, max(before.peak_mib, cost.peak_mib))
    return found


def _cost(process: psutil.Process) -> Cost:
    times = process.cpu_times()
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return Cost(times.user + times.system, int(peak[1]) / 1024 if peak else 0.0)
