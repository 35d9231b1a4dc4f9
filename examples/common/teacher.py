"""Answers a task's construction prompts by rule, for a model that cannot construct yet.

    TASK=examples/arithmetic tapo cold-start build ... --answers examples/common/teacher.py:answer

`quoting_answer` is for `--copy anchored`.

The folder in the environment's TASK says whose rule it is.
"""

from __future__ import annotations

import functools
import os

from examples.common.task import Task, load_task
from tapo.core.copies import common_prefix_length


@functools.cache
def task() -> Task:
    """The task that TASK names."""
    if "TASK" not in os.environ:
        raise ValueError("TASK is not set: set it to the folder of the task whose construction prompts are answered")
    return load_task(os.environ["TASK"])


def answer(query: str, wrong: str, correct: str, seed: int) -> str:
    """The reference construction; "" where there is none."""
    return task().construction(task().parse(query), wrong, correct)


def quoting_answer(query: str, wrong: str, correct: str, seed: int) -> str:
    """The same with an analysis whose last line quotes the erroneous one, as the last that is kept."""
    head, tag, reconstruction = answer(query, wrong, correct, seed).partition("</analysis>\n<reconstruction>")
    kept = reconstruction[: common_prefix_length(reconstruction, wrong)].splitlines(keepends=True)
    return f"{head}\n{kept[-1]}{tag}{reconstruction}" if kept else ""
