"""Pre-training rows: what a general base model brings along before it is taught to construct.

Beside solving the task, a base model can compare two texts, copy one and go over from one to another. A model of a million
parameters has to be shown each of these, and is shown them in another form than the construction's: no tags, no reflection, no
answer that goes wrong and right again on purpose.
"""

from __future__ import annotations

import random

from task import Problem, analysis, first_mistake, generate_problem, inject_error

KINDS = ("solve", "compare", "merge", "copy")


def draw_row(rng: random.Random, weights: tuple[float, ...], tokens: list[str]) -> tuple[str, str]:
    """One (user text, assistant text) of the training split; `weights` goes with `KINDS`, `tokens` are there to be copied."""
    kind = rng.choices(KINDS, weights)[0]
    if kind == "copy":
        return copy_row(tokens, rng)
    problem = generate_problem(rng, "train")
    if kind == "solve":
        return problem.query, problem.solution
    return compare_row(problem, rng) if kind == "compare" else merge_row(problem, rng)


def compare_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Compares the results of two solutions, step by step, up to the first that differs."""
    wrong = inject_error(problem, rng)
    return f"First: {wrong}\nSecond: {problem.solution}\nCompare.", analysis(problem, wrong, problem.solution)


def merge_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Copies the first solution through the first line that differs from the second, then the second from that line on."""
    wrong = inject_error(problem, rng)
    mistake = first_mistake(problem, wrong)
    rest = problem.solution.splitlines(keepends=True)[mistake.step - 1 :]
    return f"First: {wrong}\nSecond: {problem.solution}\nMerge.", wrong[: mistake.end] + "".join(rest)


def copy_row(tokens: list[str], rng: random.Random) -> tuple[str, str]:
    """Copies a random string: no token is left that the model has never read or written."""
    text = "".join(rng.choices(tokens, k=rng.randint(4, 24)))
    return f"Copy: {text}", text
