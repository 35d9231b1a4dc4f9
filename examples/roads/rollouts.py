"""Generated rollouts of the roads task, for the cold start."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .problem import Problem


def wrong_response(problem: Problem, rng: random.Random, *, tries: Sequence[int]) -> str:
    """Wrong roads one after the other, the same one again among them, and the last as the answer."""
    return problem.response(rng.choices(problem.wrong_roads, k=rng.choice(tries)))


def correct_response(problem: Problem, rng: random.Random, *, tries: Sequence[int] = (0, 0, 0, 1, 2)) -> str:
    """Some wrong roads, and the one to the goal."""
    return problem.response([*rng.choices(problem.wrong_roads, k=rng.choice(tries)), problem.goal_road])


def responses(problem: Problem, rng: random.Random) -> tuple[list[str], list[float]]:
    """A correct response and two wrong ones, of several tries now and then, and their scores.

    A policy that has learned to take roads back constructs from such rollouts, so it has to have seen them.
    """
    wrong = [wrong_response(problem, rng, tries=(1, 1, 2, 3, 4)) for _ in range(2)]
    return [correct_response(problem, rng), *wrong], [1.0, 0.0, 0.0]
