"""Answers a task's construction prompts by rule, for a model that cannot construct yet.

    TASK=examples/arithmetic tapo cold-start build ... --answers examples/common/teacher.py:answer

The folder in the environment's TASK says whose rule it is.
"""

from __future__ import annotations

import functools
import os

from examples.common.task import Task, load_task


@functools.cache
def task() -> Task:
    """The task that TASK names."""
    if "TASK" not in os.environ:
        raise ValueError("TASK is not set: set it to the folder of the task whose construction prompts are answered")
    return load_task(os.environ["TASK"])


def answer(query: str, wrong: str, correct: str, seed: int) -> str:
    """The reference construction; "" where there is none."""
    return task().construction(task().parse(query), wrong, correct)
