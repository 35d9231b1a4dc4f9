"""Pre-training rows: what a general base model brings along before it is taught to construct.

Beside solving the task, a base model can compare two texts, copy one and go over from one to another. A model of a million
parameters has to be shown each of these, and is shown them in another form than the construction's: no tags, no reflection, no
answer that goes wrong and right again on purpose.
"""

from __future__ import annotations

import random
import re

from task import Problem, analysis, apply, first_mistake, generate_problem, inject_error
from tokenizer import CHARACTERS, PHRASES, STEPS

KINDS = ("solve", "check", "mend", "copy")
MARKS = [token for token in [*PHRASES, *CHARACTERS] if token.strip() and not token[0].isdigit() and token not in STEPS]


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
    return "Check: " + "\n".join(lines), "\n".join(map(verdict, lines))


def mend_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Compares two solutions step by step, then copies the wrong one through its first error and the right one from there on.

    The query names the marks to put around the parts and, in half of the rows, before a sentence on the error. They are drawn anew each
    time, so that the model goes by the query and the content, and no mark is bound to a part.
    """
    wrong = inject_error(problem, rng)
    mistake = first_mistake(problem, wrong)
    rest = problem.solution.splitlines(keepends=True)[mistake.step - 1 :]
    begin, middle, end, *before = marks = rng.sample(MARKS, rng.choice((3, 4)))
    sentence = [*before, f"{verdict(mistake.line)}\n"] if before else []
    answer = [begin, analysis(problem, wrong, problem.solution), middle, wrong[: mistake.end], *sentence, *rest, end]
    return f"Query: {problem.query}\nWrong: {wrong}\nCorrect: {problem.solution}\n{''.join(marks)}", "".join(answer)


def copy_row(tokens: list[str], rng: random.Random) -> tuple[str, str]:
    """Copies a random string: no token is left that the model has never read or written."""
    text = "".join(rng.choices(tokens, k=rng.randint(4, 24)))
    return f"Copy: {text}", text


def verdict(line: str) -> str:
    """Whether the equation of a step is true."""
    left, sign, right, result = re.fullmatch(r"Step \d+: (\d+)([-+*])(\d+)=(\d+)", line).groups()
    true = apply(int(left), sign, int(right)) == int(result)
    return f"{left}{sign}{right}{' is ' if true else ' is not '}{result}."
