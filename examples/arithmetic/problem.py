"""A multi-step arithmetic task small enough for a one-million-parameter model.

A problem starts with a number and applies four to six operations; every value on the way lies in 1..99. Everything is
generated, so a problem's only right solution is known and the first error of any rollout can be found by rule:

    query       Start with 28. Multiply by 3. Subtract 39. Add 5. Add 8. What is the result?
    solution    Step 1: 28*3=84
                Step 2: 84-39=45
                ...
                \\boxed{58}
    reflection  Wait, 84-39 is not 55.

Pure Python; the model, the tokenizer and verl live elsewhere.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

MIN_OPERATIONS, MAX_OPERATIONS = 4, 6
SMALLEST, LARGEST = 1, 99
TEST_SHARE = 16  # one problem in so many belongs to the test split

PHRASES = {"+": "Add ", "-": "Subtract ", "*": "Multiply by "}
REFLECTION_MARK = "Wait, "

_STEP = re.compile(r"Step (\d+): (-?\d+[-+*]\d+)=(-?\d+)")
_BOXED = re.compile(r"\\boxed\{(-?\d+)\}")


@dataclass(frozen=True)
class Problem:
    """A start value and its operations, each a sign (`+`, `-`, `*`) and an operand."""

    start: int
    operations: tuple[tuple[str, int], ...]

    @property
    def values(self) -> list[int]:
        """The value after each operation."""
        return _carry(self.start, self.operations)

    @property
    def answer(self) -> int:
        return self.values[-1]

    @property
    def query(self) -> str:
        operations = " ".join(f"{PHRASES[sign]}{operand}." for sign, operand in self.operations)
        return f"Start with {self.start}. {operations} What is the result?"

    @property
    def steps(self) -> list[str]:
        """The lines of the right solution, without the answer."""
        return _step_lines(self.start, self.operations, self.values)

    @property
    def solution(self) -> str:
        return _solution_text(self.steps, self.answer)

    @property
    def split(self) -> str:
        """`train` or `test`, from the problem itself: whatever the seeds and sizes, the two can't overlap."""
        digest = hashlib.sha256(self.query.encode()).digest()
        return "test" if digest[0] % TEST_SHARE == 0 else "train"


@dataclass(frozen=True)
class Mistake:
    """The first error of a rollout that no reflection takes back.

    Attributes:
        step: number of the step that should have stood there, from 1; the number of steps plus one for the answer.
        line: the erroneous line.
        end: offset in the rollout behind that line and its newline.
    """

    step: int
    line: str
    end: int


def apply(value: int, sign: str, operand: int) -> int:
    return {"+": value + operand, "-": value - operand, "*": value * operand}[sign]


def generate_problem(rng: random.Random, split: str | None = None) -> Problem:
    """Draws a problem; with `split`, one of that split."""
    while True:
        value = start = rng.randint(SMALLEST, LARGEST)
        operations = []
        for _ in range(rng.randint(MIN_OPERATIONS, MAX_OPERATIONS)):
            sign, operand = _draw_operation(rng, value)
            operations.append((sign, operand))
            value = apply(value, sign, operand)
        problem = Problem(start, tuple(operations))
        if split is None or problem.split == split:
            return problem


def parse_query(query: str) -> Problem:
    """The problem that a query states; raises ValueError for any other text."""
    start = re.match(r"Start with (\d+)\. ", query)
    signs = {phrase: sign for sign, phrase in PHRASES.items()}
    found = re.findall(r"(Add |Subtract |Multiply by )(\d+)\.", query)
    if start:
        problem = Problem(int(start[1]), tuple((signs[phrase], int(operand)) for phrase, operand in found))
        if problem.operations and problem.query == query:
            return problem
    raise ValueError(f"not a query of this task: {query!r}")


def final_answer(text: str) -> int | None:
    """The last boxed number of a response."""
    found = _BOXED.findall(text)
    return int(found[-1]) if found else None


def inject_error(problem: Problem, rng: random.Random) -> str:
    """A wrong solution: one slip at a random step, carried on consistently to a wrong answer in the task's range."""
    while True:
        step = rng.randrange(len(problem.operations))
        sign, operand = problem.operations[step]
        values = problem.values
        right, before = values[step], values[step - 1] if step else problem.start
        slipped = _slip(rng, right, sign, before, operand)
        carried = [*values[:step], slipped, *_carry(slipped, problem.operations[step + 1 :])]
        if carried[-1] != problem.answer and all(SMALLEST <= value <= LARGEST for value in carried):
            return _solution_text(_step_lines(problem.start, problem.operations, carried), carried[-1])


def first_mistake(problem: Problem, text: str) -> Mistake | None:
    """The first error of a rollout that no reflection takes back; None for a right one, or one that merely stops early.

    Where a reflection restates the step wrongly again, the error is the restated line: what a rollout has noticed by
    itself needs no second reflection.
    """
    expected = [*problem.steps, f"\\boxed{{{problem.answer}}}"]
    lines = text.splitlines(keepends=True)
    done = end = 0
    for index, raw in enumerate(lines):
        line, end = raw.rstrip("\n"), end + len(raw)
        if done == len(expected):
            return None
        if line.startswith(REFLECTION_MARK):
            # A reflection may go back to a step that was right.
            done = min(done, (_restated_step(lines, index) or done + 1) - 1)
        elif line == expected[done]:
            done += 1
        elif _restated_step(lines, index + 1) != done + 1:
            return Mistake(done + 1, line, end)
    return None


def reflection(problem: Problem, mistake: Mistake) -> str:
    """One sentence that names the error."""
    if mistake.step > len(problem.operations):
        return f"{REFLECTION_MARK}the result is {problem.answer}."
    term = problem.steps[mistake.step - 1].split(": ")[1].split("=")[0]
    stated = _STEP.fullmatch(mistake.line)
    if stated and stated[2] == term:
        return f"{REFLECTION_MARK}{term} is not {stated[3]}."
    return f"{REFLECTION_MARK}step {mistake.step} is {term}."


def micro_reflective(problem: Problem, wrong: str) -> str:
    """The wrong rollout up to and including its first error, a reflection, and the right steps from there on."""
    mistake = first_mistake(problem, wrong)
    if mistake is None:
        raise ValueError(f"no error to reflect on in {wrong!r}")
    rest = _solution_text(problem.steps[mistake.step - 1 :], problem.answer)
    prefix = wrong[: mistake.end]
    return f"{prefix}{'' if prefix.endswith(chr(10)) else chr(10)}{reflection(problem, mistake)}\n{rest}"


def analysis(problem: Problem, wrong: str, correct: str) -> str:
    """A walk over both solutions, step by step, that ends at the first uncorrected difference."""
    mistake = first_mistake(problem, wrong)
    if mistake is None:
        raise ValueError(f"no error to analyse in {wrong!r}")
    right = _stated_results(correct)
    walk = [f"Step {step}: {right.get(step)} vs {right.get(step)} same." for step in range(1, mistake.step)]
    if mistake.step > len(problem.operations):
        return "\n".join(walk)
    stated = _STEP.fullmatch(mistake.line)
    walk.append(f"Step {mistake.step}: {stated[3] if stated else '?'} vs {right.get(mistake.step)} differs.")
    return "\n".join(walk)


def construction(problem: Problem, wrong: str, correct: str) -> str:
    """The reference answer to the construction prompt; "" where `wrong` states no error, as one that stops early."""
    if first_mistake(problem, wrong) is None:
        return ""
    walk = analysis(problem, wrong, correct)
    return f"<analysis>{walk}</analysis>\n<reconstruction>{micro_reflective(problem, wrong)}</reconstruction>"


def needless_reflection(query: str, text: str) -> bool:
    """Whether a response reflects where nothing in front of it is wrong."""
    problem = parse_query(query)
    lines = text.splitlines(keepends=True)
    return any(
        line.startswith(REFLECTION_MARK) and first_mistake(problem, "".join(lines[:number])) is None
        for number, line in enumerate(lines)
    )


def _draw_operation(rng: random.Random, value: int) -> tuple[str, int]:
    """An operation after which the value is still in range; each feasible sign is equally likely."""
    ranges = {"+": (1, LARGEST - value), "-": (1, value - SMALLEST), "*": (2, min(9, LARGEST // value))}
    sign = rng.choice([sign for sign, (low, high) in ranges.items() if low <= high])
    return sign, rng.randint(*ranges[sign])


def _slip(rng: random.Random, right: int, sign: str, before: int, operand: int) -> int:
    """A wrong result of the kind that people and small models produce."""
    if sign == "*" and rng.random() < 0.4:
        return right + rng.choice((-operand, operand))
    if rng.random() < 0.1:  # another operation than the one asked for
        return apply(before, rng.choice([other for other in PHRASES if other != sign]), operand)
    return right + rng.choice((-20, -11, -10, -10, -9, -5, -3, -2, -2, -1, -1, 1, 1, 2, 2, 3, 5, 9, 10, 10, 11, 20))


def _carry(value: int, operations: tuple[tuple[str, int], ...]) -> list[int]:
    values = []
    for sign, operand in operations:
        value = apply(value, sign, operand)
        values.append(value)
    return values


def _step_lines(start: int, operations: tuple[tuple[str, int], ...], values: list[int]) -> list[str]:
    befores = [start, *values[:-1]]
    return [
        f"Step {number}: {before}{sign}{operand}={value}"
        for number, (before, (sign, operand), value) in enumerate(zip(befores, operations, values, strict=True), 1)
    ]


def _solution_text(steps: list[str], answer: int) -> str:
    return "".join(f"{step}\n" for step in steps) + f"\\boxed{{{answer}}}"


def _restated_step(lines: list[str], index: int) -> int | None:
    """The number of the step behind the reflection in line `index`; None if there is no reflection, or no step."""
    if index + 1 >= len(lines) or not lines[index].startswith(REFLECTION_MARK):
        return None
    restated = _STEP.fullmatch(lines[index + 1].rstrip("\n"))
    return int(restated[1]) if restated else None


def _stated_results(text: str) -> dict[int, int]:
    """The result that a solution ends up with for each step; a restated step counts."""
    found = (_STEP.fullmatch(line) for line in text.splitlines())
    return {int(step[1]): int(step[3]) for step in found if step}
