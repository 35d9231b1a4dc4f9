"""When which fault strikes, and a line for each that did."""

import json
import os
import random
from functools import cache

FOLDER = "TAPO_SOAK"
"""Environment variable: the folder of the run, into which every process of it writes."""
STEPS_FILE = "steps.jsonl"
"""In it: what the trainer trained, a line a step (`witness.py`, which only a run imports: it changes the trainer)."""
RATES = {
    # of a construction's requests
    "request raises": 0.05,
    "request hangs": 0.02,
    "answer is garbage": 0.05,
    "answer is empty": 0.02,
    "answer without end": 0.02,
    # of its scores
    "score raises": 0.03,
    "score is NaN": 0.03,
    "score is infinite": 0.02,
    # of its rows
    "tag is not put": 0.02,
    "row is not put": 0.02,
    "row is put, and the put raises": 0.02,
    # of a group's counts
    "counts are not put": 0.01,
    # of a dump's lines
    "disk is full": 0.03,
    # of the rewards of rollouts
    "reward raises": 0.001,
}


class Fault(RuntimeError):
    """Raised where one strikes."""


class Chance:
    """Draws of one process: other ones in each, and in each start of it."""

    def __init__(self, folder: str):
        self.path = os.path.join(folder, f"faults-{os.getpid()}.jsonl")
        self.draw = random.Random(f"{folder}/{os.getpid()}")

    def strikes(self, name: str) -> bool:
        if self.draw.random() >= RATES[name]:
            return False
        self.note(name)
        return True

    def strike(self, name: str) -> None:
        if self.strikes(name):
            raise Fault(name)

    def note(self, name: str) -> None:
        with open(self.path, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(name) + "\n")


@cache
def chance() -> Chance:
    """That of this process."""
    return Chance(os.environ[FOLDER])
