"""Whether a response's text holds what its answer claims: by rule, whatever the reward says of it."""

from __future__ import annotations

import re

from .problem import REFLECTION_MARK, needless_reflection, parse_query

FALSE_WALK = "false_walk"
"""A try, not taken back, that follows no road of the map to its end, or misstates where that is."""
NEEDLESS = "needless"
"""A reflection takes back the road to the goal, or one that the response has seen to end there."""

_NAMED = re.compile(r"Wait, (\d) is wrong\.")


def faithful(query: str, text: str) -> str:
    """What is wrong with a response's text: `FALSE_WALK`, else `NEEDLESS`, else ""."""
    problem = parse_query(query)
    true = {problem.attempt(road).strip() for road in problem.roads}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    standing = [
        line
        for line, behind in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("Try") and not behind.startswith(REFLECTION_MARK)
    ]
    if not set(standing) <= true:
        return FALSE_WALK
    denied = {int(found[1]) for line in lines if (found := _NAMED.fullmatch(line))}
    return NEEDLESS if problem.answer in denied or needless_reflection(query, text) else ""
