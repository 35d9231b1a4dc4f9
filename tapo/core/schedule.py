"""A weight that changes over a run."""

import math
from collections.abc import Callable

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 0.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
}
"""Share of the way from start to end at a progress between 0 and 1."""


def scheduled(shape: str, start: float, end: float, progress: float) -> float:
    """The weight at a progress through the schedule: `start` at 0, and `end` from 1 on unless the shape is constant.

    Args:
        shape: a name of `SHAPES`.
        progress: >= 0, in schedules.
    """
    share = SHAPES[shape](min(progress, 1.0))
    return start + share * (end - start)
