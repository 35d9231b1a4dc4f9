"""Time and peak memory of functions, each in a process of its own."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 5
COST = ("", "seconds", "CPU seconds", "CPU rollouts/s", "peak MiB")


def measure(prepare: Callable[[], Callable[[], Any]]) -> tuple[float, float]:
    """(median seconds, peak MiB above the inputs) of what `prepare` returns."""
    return _in_child("fork", _repeat, prepare)


def measure_once(step: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    """`seconds` of wall time, `cpu` seconds and `peak` MiB of a step and the whole of its fresh process.

    Where the step returns a mapping, that replaces what it measured better itself.
    """
    return _in_child("spawn", _once, step, *arguments)


def _in_child(start: str, target: Callable[..., Any], *arguments: Any) -> Any:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context(start).Process(target=_send, args=(theirs, target, *arguments))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result


def _send(pipe: Any, target: Callable[..., Any], *arguments: Any) -> None:
    pipe.send(target(*arguments))


def shown(cost: dict[str, float], rollouts: int | None) -> list[str]:
    """What `measure_once` found, under `COST`; `rollouts` for a rate, None for none."""
    rate = "-" if rollouts is None else f"{rollouts / cost['cpu']:,.0f}"
    return [f"{cost['seconds']:.1f}", f"{cost['cpu']:.1f}", rate, f"{cost['peak']:.0f}"]


def peak_mib() -> float:
    """Most memory that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _once(step: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    start, cpu = time.perf_counter(), time.process_time()
    better = step(*arguments) or {}
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "peak": peak_mib()} | better


def _repeat(prepare: Callable[[], Callable[[], Any]]) -> tuple[float, float]:
    run = prepare()
    before = peak_mib()
    run()
    peak, seconds = peak_mib() - before, []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), peak
