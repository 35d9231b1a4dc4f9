"""Time and peak memory of a function, each in a process of its own."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 5


def _child(prepare: Callable[[], Callable[[], Any]], pipe: Any) -> None:
    run = prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    pipe.send((statistics.median(seconds), peak_kib / 1024))


def measure(prepare: Callable[[], Callable[[], Any]]) -> tuple[float, float]:
    """(median seconds, peak MiB above the inputs) of what `prepare` returns."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(prepare, theirs))
    process.start()
    result = ours.recv()
    process.join()
    return result
