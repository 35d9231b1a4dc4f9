"""What the simulated policy writes: numbered steps of a sum each, one of them wrong in a wrong rollout, a boxed end."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

WORDS = (
    "so the running total of this part becomes",
    "now add the next two entries of the table, which gives",
    "by the formula above the coefficient is",
    "counting both cases separately we obtain",
    "since the terms are symmetric, their sum equals",
    "substituting the value that we found before, the left side is",
    "let us simplify the expression; it reduces to",
    "from the second equation we get",
)
TOKENS_PER_STEP = 30
"""About so many does a step take with the tokenizer of `task`."""

_QUERY = re.compile(r"what is (\d+) \+ (\d+)\?")
_STEP = re.compile(r"^Step (\d+): [^\n]*?(\d+) \+ (\d+) = (\d+)\.$", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\{(\d+)\}")


def query(number: int, seed: int) -> str:
    """A problem, about as long as one of a competition."""
    draw = random.Random(f"{seed}/query/{number}")
    story = " ".join(draw.choice(WORDS) + f" {draw.randrange(1000)}," for _ in range(5))
    return f"Problem {number}. A ledger is read in steps: {story} and so on. In the end, what is {_sum(draw)}?"


def solution(query_text: str) -> int:
    """The answer to a problem."""
    match = _QUERY.search(query_text)
    assert match is not None, f"no problem of this benchmark: {query_text!r:.80}"
    return int(match[1]) + int(match[2])


def boxed(text: str) -> int | None:
    """The answer that a response gives."""
    found = _BOXED.findall(text)
    return int(found[-1]) if found else None


def rollout(query_text: str, draw: random.Random, steps: int, *, correct: bool, errors_from: float = 0.1) -> str:
    """A response of so many steps; in a wrong one some step from that share of it on errs, and so does the end."""
    wrong_at = None if correct else draw.randrange(max(1, int(errors_from * steps)), max(2, steps))
    lines = [_step(draw, number, errs=number == wrong_at) for number in range(1, steps + 1)]
    return "\n".join([*lines, _end(query_text, correct)])


@dataclass(frozen=True)
class Error:
    """The first step that errs, or the one that a response without an error is given up behind.

    Attributes:
        line: its text, which stands once in the response.
        end: characters of the response up to its end.
        number: its step, of so many `steps`.
        notice: the sentence that takes it back.
    """

    line: str
    end: int
    number: int
    steps: int
    notice: str


def find_error(attempt: str) -> Error | None:
    """The error of a wrong response; None where it has no step at all."""
    found = list(_STEP.finditer(attempt))
    if not found:
        return None
    for match in found:
        a, b, said = int(match[2]), int(match[3]), int(match[4])
        if a + b != said:
            notice = f"Wait, {a} + {b} is not {said}: it is {a + b}."
            return Error(match[0], match.end(), int(match[1]), len(found), notice)
    match = found[2 * len(found) // 3]
    return Error(match[0], match.end(), int(match[1]), len(found), "Wait, this is not going anywhere, and I lose time.")


def correction(query_text: str, draw: random.Random, first: int, steps: int, *, correct: bool) -> str:
    """What follows a notice: so many steps from `first` on, and the end."""
    lines = [_step(draw, number, errs=False) for number in range(first, first + steps)]
    return "\n".join([*lines, _end(query_text, correct)])


def samples(seed: int) -> Iterator[str]:
    """Texts to train a tokenizer on."""
    draw = random.Random(seed)
    for number in range(80):
        text = query(number, seed)
        yield text
        yield rollout(text, draw, 20, correct=number % 2 == 0)


def _sum(draw: random.Random) -> str:
    return f"{draw.randrange(100, 10_000)} + {draw.randrange(100, 10_000)}"


def _step(draw: random.Random, number: int, *, errs: bool) -> str:
    a, b = draw.randrange(10, 1000), draw.randrange(10, 1000)
    return f"Step {number}: {draw.choice(WORDS)} {a} + {b} = {a + b + errs}."


def _end(query_text: str, correct: bool) -> str:
    return f"Therefore the answer is \\boxed{{{solution(query_text) + (not correct)}}}."
