"""What the doctor finds."""

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """One of them.

    Attributes:
        what: was looked at, in a word or two.
        said: what was found, in one line.
        do: what to do about it; "" where nothing is to be done.
    """

    level: Level
    what: str
    said: str
    do: str = ""


def fine(what: str, said: str) -> Finding:
    return Finding(Level.OK, what, said)


def warning(what: str, said: str, do: str) -> Finding:
    return Finding(Level.WARNING, what, said, do)


def fault(what: str, said: str, do: str) -> Finding:
    return Finding(Level.FAULT, what, said, do)


def skipped(what: str, said: str) -> Finding:
    return Finding(Level.SKIPPED, what, said)
