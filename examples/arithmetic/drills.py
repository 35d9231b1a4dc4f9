"""Pre-training rows: what a general base model brings along before it is taught to construct.

Beside solving the task, a base model can compare, copy and obey a format. A model of a million parameters has to be
shown each, and is shown them in another form than the construction's: the marks around the parts are named in the query
and drawn anew each time, and no answer to a plain query goes wrong and right again.
"""

from __future__ import annotations

import random
import re

from examples.common.vocabulary import CHARACTERS, TAGS

from .phrases import PHRASES, STEPS
from .problem import LARGEST, SMALLEST, Problem, analysis, apply, first_mistake, inject_error

WORDS = [*TAGS, *PHRASES, *CHARACTERS]
MARKS = [word for word in WORDS if word.strip() and not word[0].isdigit() and word not in STEPS]


def solve_row(problem: Problem, _: random.Random) -> tuple[str, str]:
    """Solves the task."""
    return problem.query, problem.solution


def check_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Says of each line of a wrong solution whether it is true."""
    lines = inject_error(problem, rng).splitlines()[:-1]
    return "Check: " + "\n".join(lines), "\n".join(map(verdict, lines))


def mend_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Compares two solutions, then copies the wrong one through its first error and the right one from there on.

    The query names the marks around the parts and, in half of the rows, one before a sentence on the error. They are
    drawn anew each time, so that the model goes by the query and the content, and no mark is bound to a part.
    """
    wrong = inject_error(problem, rng)
    mistake = first_mistake(problem, wrong)
    rest = problem.solution.splitlines(keepends=True)[mistake.step - 1 :]
    begin, middle, end, *before = marks = rng.sample(MARKS, rng.choice((3, 4)))
    sentence = [*before, f"{verdict(mistake.line)}\n"] if before else []
    answer = [begin, analysis(problem, wrong, problem.solution), middle, wrong[: mistake.end], *sentence, *rest, end]
    query = f"Query: {problem.query}\nWrong: {wrong}\nCorrect: {problem.solution}\n{''.join(marks)}"
    return query, "".join(answer)


def compare_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Compares pairs of numbers; half of them are equal, many of the others nearly so."""
    pairs = []
    for value in rng.choices([*problem.values, rng.randint(SMALLEST, LARGEST)], k=8):
        near = value + rng.choice((-10, -1, 1, 10)) if rng.random() < 0.5 else rng.randint(SMALLEST, LARGEST)
        pairs.append((value, value if rng.random() < 0.5 else near))
    numbers = " ".join(f"{first},{second}" for first, second in pairs)
    lines = [f"{first} vs {second} {'same' if first == second else 'differs'}." for first, second in pairs]
    return f"Compare: {numbers}", "\n".join(lines)


def copy_row(_: Problem, rng: random.Random) -> tuple[str, str]:
    """Copies a random string: no token is left that the model has never read or written."""
    text = "".join(rng.choices(WORDS, k=rng.randint(4, 24)))
    return f"Copy: {text}", text


def verdict(line: str) -> str:
    """Whether the equation of a step is true."""
    left, sign, right, result = re.fullmatch(r"Step \d+: (\d+)([-+*])(\d+)=(\d+)", line).groups()
    true = apply(int(left), sign, int(right)) == int(result)
    return f"{left}{sign}{right}{' is ' if true else ' is not '}{result}."
