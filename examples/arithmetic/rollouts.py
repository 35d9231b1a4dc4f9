"""Generated rollouts of the arithmetic task, errors included.

A model of a million parameters needs more rollouts, and ones that reflect, than it can sample in a minute.
"""

from __future__ import annotations

import random

from .problem import REFLECTION_MARK, Problem, first_mistake, inject_error, micro_reflective, reflection

REFLECTIVE_SHARE = 0.3
"""Of the rollouts behind the first right one, since a model that has learned to reflect constructs from such too."""


def reflective_but_wrong(problem: Problem, rng: random.Random) -> str:
    """A rollout that reflects and goes wrong all the same.

    It mends an error and makes another one later, restates an erroneous step wrongly again, or takes back a step that
    was right. Not every problem has room for each of them.
    """
    while True:
        kind = rng.choice(("later", "again", "needless"))
        first, second = inject_error(problem, rng), inject_error(problem, rng)
        early, late = first_mistake(problem, first), first_mistake(problem, second)
        tail = second.splitlines(keepends=True)[late.step - 1 :]
        if kind == "needless":
            right = problem.solution.splitlines(keepends=True)[: late.step]
            term, result = problem.steps[late.step - 1].split(": ")[1].split("=")
            return "".join([*right, f"{REFLECTION_MARK}{term} is not {result}.\n", *tail])
        if kind == "later" and early.step < late.step:
            mended = micro_reflective(problem, first)[early.end :].splitlines(keepends=True)
            return "".join([first[: early.end], *mended[: late.step - early.step + 1], *tail])
        if kind == "again" and early.step == late.step and early.line != late.line:
            return "".join([first[: early.end], f"{reflection(problem, early)}\n", *tail])


def responses(problem: Problem, rng: random.Random) -> tuple[list[str], list[float]]:
    """Two right and two wrong responses, and their scores."""
    reflects = [rng.random() < REFLECTIVE_SHARE for _ in range(3)]
    right = [
        problem.solution,
        micro_reflective(problem, inject_error(problem, rng)) if reflects[0] else problem.solution,
    ]
    wrong = [reflective_but_wrong(problem, rng) if r else inject_error(problem, rng) for r in reflects[1:]]
    return right + wrong, [1.0, 1.0, 0.0, 0.0]
