"""Whether a response's text holds what its answer claims: by rule, whatever the reward says of it.

An answer may be right above a step that is wrong, since a correction may go on from another value than the one that
stands in front of it; and a reflection may take back what was right.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .problem import REFLECTION_MARK, Problem, parse_query

FALSE_STEP = "false_step"
"""A line that is no line of the solution, and that no reflection takes back."""
TOOK_BACK_RIGHT = "took_back_right"
"""A reflection takes back a line of the solution."""

_NUMBER = re.compile(r"Step (\d+): ")
_DENIED = re.compile(r"Wait, (\d+[-+*]\d+) is not (\d+)\.")


class Line(NamedTuple):
    """A line of a response that still stands."""

    number: int
    """Of its step, from 1; one more than the steps for the answer."""
    text: str
    right: bool


def faithful(query: str, text: str) -> str:
    """What is wrong with a response's text: `FALSE_STEP`, else `TOOK_BACK_RIGHT`, else "".

    Other than in `first_mistake`, a later reflection that goes back to an error's step or further takes it back too.
    """
    problem = parse_query(query)
    standing: list[Line] = []
    took_back_right = False
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for index, text_line in enumerate(lines):
        if text_line.startswith(REFLECTION_MARK):
            begin = _taken_back_from(standing, text_line, lines[index + 1] if index + 1 < len(lines) else "", problem)
            took_back_right |= any(line.right for line in standing[begin:])
            del standing[begin:]
        else:
            standing.append(_line(text_line, standing[-1].number + 1 if standing else 1, problem))
    if not all(line.right for line in standing):
        return FALSE_STEP
    return TOOK_BACK_RIGHT if took_back_right else ""


def _taken_back_from(standing: list[Line], reflection: str, restated: str, problem: Problem) -> int:
    """Index of the first line that a reflection takes back: that of the step which follows it, or the one that states
    what the reflection denies, whichever comes first; the last line where there is neither."""
    next_number = _line(restated, 0, problem).number if restated else 0
    denied = _DENIED.fullmatch(reflection)
    stated = f": {denied[1]}={denied[2]}" if denied else None
    for index, line in enumerate(standing):
        if 0 < next_number <= line.number or (stated and line.text.endswith(stated)):
            return index
    return max(len(standing) - 1, 0)


def _line(text: str, number: int, problem: Problem) -> Line:
    """A line, of the step that it names, or of `number` where it names none."""
    expected = [*problem.steps, f"\\boxed{{{problem.answer}}}"]
    if named := _NUMBER.match(text):
        number = int(named[1])
    elif text.startswith("\\boxed{"):
        number = len(expected)
    return Line(number, text, 1 <= number <= len(expected) and expected[number - 1] == text)
