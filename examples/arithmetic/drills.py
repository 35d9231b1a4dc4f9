"""Pre-training rows: what a general base model brings along before it is taught to construct.

Beside solving the task, a base model can compare two texts, copy one and go over from one to another. A model of a million
parameters has to be shown each of these, and is shown them in another form than the construction's: no tags, no reflection, no
answer that goes wrong and right again on purpose.
"""

from __future__ import annotations

import random
import re

from task import Problem, analysis, apply, first_mistake, generate_problem, inject_error

KINDS = ("solve", "check", "mend", "copy")
MARKERS = [chr(code) for code in range(33, 127) if not chr(code).isdigit()]


def draw_row(rng: random.Random, weights: tuple[float, ...], tokens: list[str]) -> tuple[str, str]:
    """One (user text, assistant text) of the training split; `weights` goes with `KINDS`, `tokens` are there to be copied."""
    kind = rng.choices(KINDS, weights)[0]
    if kind == "copy":
        return copy_row(tokens, rng)
    problem = generate_problem(rng, "train")
    if kind == "solve":
        return problem.query, problem.solution
    return check_row(problem, rng) if kind == "check" else mend_row(problem, rng)


def check_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Says of each line of a solution whether it is true."""
    lines = inject_error(problem, rng).splitlines()[:-1]
    verdicts = []
    for line in lines:
        term, result = line.split(": ")[1].split("=")
        verdicts.append(f"{term}{' is ' if evaluate_term(term) == int(result) else ' is not '}{result}.")
    return "Check: " + "\n".join(lines), "\n".join(verdicts)


def mend_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Compares two solutions step by step, then copies the wrong one through its first error and the right one from there on.

    The query names the three marks to put around the parts. They are drawn anew each time, so that the model learns to go by the content.
    """
    wrong = inject_error(problem, rng)
    mistake = first_mistake(problem, wrong)
    rest = problem.solution.splitlines(keepends=True)[mistake.step - 1 :]
    begin, middle, end = rng.sample(MARKERS, 3)
    answer = [begin, analysis(problem, wrong, problem.solution), middle, wrong[: mistake.end], *rest, end]
    return f"Query: {problem.query}\nWrong: {wrong}\nCorrect: {problem.solution}\n{begin}{middle}{end}", "".join(answer)


def copy_row(tokens: list[str], rng: random.Random) -> tuple[str, str]:
    """Copies a random string: no token is left that the model has never read or written."""
    text = "".join(rng.choices(tokens, k=rng.randint(4, 24)))
    return f"Copy: {text}", text


def evaluate_term(term: str) -> int:
    left, sign, right = re.fullmatch(r"(\d+)([-+*])(\d+)", term).groups()
    return apply(int(left), sign, int(right))
