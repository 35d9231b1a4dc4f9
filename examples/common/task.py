"""What a task is: a folder with a `task.py` that holds a `TASK`.

Everything that the scripts beside this module need to know of a task stands in its `Task`. A task's folder may lie
anywhere; its modules import each other relatively (`from .problem import Problem`), and this one by its full name.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import examples


class Problem(Protocol):
    """A problem whose only correct answer is known."""

    @property
    def query(self) -> str:
        """What the model is asked."""

    @property
    def answer(self) -> str | int:
        r"""What its `\\boxed{...}` has to hold."""

    @property
    def split(self) -> str:
        """`train` or `test`, from the problem itself: whatever the seeds and sizes, the two can't overlap."""


class Drill(NamedTuple):
    """A kind of pre-training rows.

    Attributes:
        weight: its share of the rows; a task's weights need not sum to 1.
        draw: (problem of the training split, rng) -> (user text, assistant text).
    """

    weight: float
    draw: Callable[[Any, random.Random], tuple[str, str]]


class Pretraining(NamedTuple):
    """How the base model is trained: a warm-up of 40 steps, then linear decay to zero."""

    steps: int
    rows: int
    """Chats a step."""
    muon_lr: float
    """Of the layers' matrices."""
    adam_lr: float
    """Of embeddings and norms."""


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: the data source in verl's data, and so in its metrics.
        phrases: words that are one token each, in the order of their ids. The tags of a construction go before them,
            those of the construction prompt behind them, and single ASCII characters last; none need be repeated here,
            and one that is has the place where it comes first.
        draw: (rng, split) -> a problem of that split, `train` or `test`.
        parse: query -> its problem; ValueError for any other text.
        seeded: (problem, rng) -> (responses, their scores, 1.0 or 0.0): generated rollouts for the cold start.
        construction: (problem, wrong response, correct response) -> the reference answer to the construction prompt;
            "" where there is none, as for a response that states no error.
        drills: by name; what a base model brings along.
        replay: {name of a drill: its share} of the rows that go on being trained in the cold start, so that it changes
            nothing else; empty where it need not be kept from that.
        needless_reflection: (query, response) -> whether the response reflects where nothing in front of it is wrong;
            False for a response that cannot be read.
        faithful: (query, response) -> what is wrong with the response's text whatever its answer, as a label of a-z,
            0-9 and _, or "" where nothing is; None where the task has no rule for it.
        model: sizes of the base model, arguments of `Qwen3Config`.
        pretraining: its training.
    """

    name: str
    phrases: tuple[str, ...]
    draw: Callable[[random.Random, str], Problem]
    parse: Callable[[str], Problem]
    seeded: Callable[[Any, random.Random], tuple[list[str], list[float]]]
    construction: Callable[[Any, str, str], str]
    drills: Mapping[str, Drill]
    needless_reflection: Callable[[str, str], bool]
    model: Mapping[str, Any]
    pretraining: Pretraining
    replay: Mapping[str, float] = field(default_factory=dict)
    faithful: Callable[[str, str], str] | None = None


def load_module(folder: str | Path, name: str) -> Any:
    """A module of a task's folder, loaded as `examples.<folder>.<name>` wherever the folder lies.

    Raises:
        ValueError: there is no such module, or another folder of that name has been loaded.
    """
    file = Path(folder).resolve() / f"{name}.py"
    if not file.is_file():
        raise ValueError(f"{folder} is no task's folder: {file} is missing")
    if str(file.parents[1]) not in examples.__path__:
        examples.__path__.append(str(file.parents[1]))
        importlib.invalidate_caches()
    module = importlib.import_module(f"examples.{file.parent.name}.{name}")
    if Path(module.__file__).resolve() != file:
        raise ValueError(f"{file} cannot be loaded beside {module.__file__}: rename its folder")
    return module


def load_task(folder: str | Path) -> Task:
    """The `TASK` of the folder's `task.py`; ValueError where there is none."""
    task = getattr(load_module(folder, "task"), "TASK", None)
    if not isinstance(task, Task):
        raise ValueError(f"{folder}/task.py: TASK is {task!r}, expected an examples.common.task.Task")
    return task
