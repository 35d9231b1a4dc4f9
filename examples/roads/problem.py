"""Star-shaped maps: three roads leave a town, and one of them ends at the goal.

    query       Roads: 6>5 0>4 8>2 6>8 3>9 5>0 6>3 2>7 9>1. From 6 to 7. First stop?
    attempt     Try 6 5 0 4. End 4 is not 7.
                \\boxed{5}
    reflection  Wait, 5 is wrong.

An attempt takes a road, walks it to its end and says whether that is the goal: whoever takes a wrong one has written
down that it is wrong. Everything is generated, so what is wrong with a rollout can be found by rule.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

ROADS, STOPS = 3, 3  # of a map, and of a road behind the start
TOWNS = 1 + ROADS * STOPS
TEST_SHARE = 16  # one problem in so many belongs to the test split
REFLECTION_MARK = "Wait, "

_QUERY = re.compile(r"Roads:((?: \d>\d)+)\. From (\d) to (\d)\. First stop\?")
_TRY = re.compile(r"Try((?: \d)+)\. End (\d) is( not)? (\d)\.\n")
_BOXED = re.compile(r"\\boxed\{(\d)\}")


@dataclass(frozen=True)
class Problem:
    """A map and where to go: the edges in the order of the query, as (from, to)."""

    edges: tuple[tuple[int, int], ...]
    start: int
    goal: int

    @property
    def roads(self) -> list[list[int]]:
        """The stops of each road behind the start, in the order in which the query lists their first edges."""
        onward = {a: b for a, b in self.edges if a != self.start}
        return [self._walk(first, onward) for a, first in self.edges if a == self.start]

    @staticmethod
    def _walk(town: int, onward: dict[int, int]) -> list[int]:
        stops = [town]
        while stops[-1] in onward and len(stops) < TOWNS:
            stops.append(onward[stops[-1]])
        return stops

    @property
    def answer(self) -> int:
        """The first stop of the road that ends at the goal."""
        return self.goal_road[0]

    @property
    def query(self) -> str:
        return f"Roads:{self.listed}. From {self.start} to {self.goal}. First stop?"

    @property
    def listed(self) -> str:
        """The edges as the query has them."""
        return "".join(f" {a}>{b}" for a, b in self.edges)

    @property
    def split(self) -> str:
        """`train` or `test`, from the problem itself: whatever the seeds and sizes, the two can't overlap."""
        digest = hashlib.sha256(self.query.encode()).digest()
        return "test" if digest[0] % TEST_SHARE == 0 else "train"

    def attempt(self, road: list[int]) -> str:
        """The lines that walk one road."""
        walked = " ".join(map(str, road))
        return f"Try {self.start} {walked}. End {road[-1]} is{'' if road[-1] == self.goal else ' not'} {self.goal}.\n"

    def response(self, roads: list[list[int]]) -> str:
        """The response that tries some roads one after the other, and answers with the last."""
        tries = (f"{self.attempt(road)}{reflection(road[0])}" for road in roads[:-1])
        return f"{''.join(tries)}{self.attempt(roads[-1])}\\boxed{{{roads[-1][0]}}}"

    @property
    def goal_road(self) -> list[int]:
        return next(road for road in self.roads if road[-1] == self.goal)

    @property
    def solution(self) -> str:
        """The response that takes the road to the goal at once."""
        return self.response([self.goal_road])

    @property
    def wrong_roads(self) -> list[list[int]]:
        return [road for road in self.roads if road[-1] != self.goal]


def reflection(stop: int) -> str:
    """The line that takes a road back."""
    return f"{REFLECTION_MARK}{stop} is wrong.\n"


def generate_problem(rng: random.Random, split: str | None = None) -> Problem:
    """Draws a problem; with `split`, one of that split."""
    while True:
        start, *towns = rng.sample(range(TOWNS), TOWNS)
        roads = [towns[i : i + STOPS] for i in range(0, len(towns), STOPS)]
        edges = [pair for road in roads for pair in zip([start, *road], road, strict=False)]
        problem = Problem(tuple(rng.sample(edges, len(edges))), start, rng.choice(roads)[-1])
        if split is None or problem.split == split:
            return problem


def parse_query(query: str) -> Problem:
    """The problem that a query states; raises ValueError for any other text."""
    if found := _QUERY.fullmatch(query):
        edges = tuple((int(edge[0]), int(edge[2])) for edge in found[1].split())
        problem = Problem(edges, int(found[2]), int(found[3]))
        if any(road[-1] == problem.goal for road in problem.roads):
            return problem
    raise ValueError(f"not a query of this task: {query!r}")


def final_answer(text: str) -> int | None:
    """The last boxed number of a response."""
    found = _BOXED.findall(text)
    return int(found[-1]) if found else None


def needless_reflection(query: str, response: str) -> bool:
    """Whether a response takes back a road that it has itself seen to end at the goal."""
    try:
        goal = parse_query(query).goal
    except ValueError:
        return False
    return any(
        int(found[2]) == goal and not found[3] and response[found.end() :].startswith(REFLECTION_MARK)
        for found in _TRY.finditer(response)
    )


def last_try(response: str) -> str:
    """From the last try of a response on; "" where it has none."""
    found = list(_TRY.finditer(response))
    return response[found[-1].start() :] if found else ""


def construction(problem: Problem, wrong: str, correct: str) -> str:
    """The reference answer to the construction prompt; "" where the wrong response does not end in an answer.

    The wrong response is kept up to what it says of its last road. Its error is what follows: it answers with a road
    that it has seen to end elsewhere. The correct response's last try comes in place of that.
    """
    kept, boxed, _ = wrong.rpartition("\\boxed{")
    stated, guide = final_answer(wrong), last_try(correct)
    if not boxed or stated is None or not kept.endswith("\n") or not guide:
        return ""
    analysis = f" {stated} vs {final_answer(correct)} differs."
    trajectory = f"{kept}{reflection(stated)}{guide}"
    return f"<analysis>{analysis}</analysis>\n<reconstruction>{trajectory}</reconstruction>"
