"""Whether a constructed text speaks of what only the construction prompt showed."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

LEAKS = Path(__file__).parent / "data" / "leaks.yaml"
"""The patterns, with their guideline."""

AROUND = 90
"""Characters around a stem that a leak may take up."""


def find_leak(text: str) -> str | None:
    """The first words that speak of a solution, an attempt or instructions that were shown; None if none do."""
    stems, pattern = _compiled()
    lower = text.lower()
    # The stems cost a hundredth of the pattern, and most of a solution holds none.
    end = 0
    for at in sorted(_places(stems, lower)):
        if at < end:
            continue
        end = at + AROUND
        if match := pattern.search(text, max(at - AROUND, 0), end):
            return match[0]
    return None


def _places(stems: tuple[str, ...], text: str) -> Iterator[int]:
    for stem in stems:
        at = text.find(stem)
        while at >= 0:
            yield at
            at = text.find(stem, at + len(stem))


@cache
def _compiled() -> tuple[tuple[str, ...], re.Pattern[str]]:
    lists = yaml.safe_load(LEAKS.read_text(encoding="utf-8"))
    words = "|".join(lists["words"])
    for name, part in lists["parts"].items():
        words = words.replace(f"{{{name}}}", part)
    both = rf"\b(?:{words})|{'|'.join(lists['anywhere'])}"
    # A blank that may be missing, and any other.
    spaced = both.replace(" ?", r"\s*").replace(" ", r"\s+")
    return tuple(lists["stems"]), re.compile(spaced, re.IGNORECASE)
