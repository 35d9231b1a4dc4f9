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
    """A correct response, which takes nothing back, and two wrong ones; and their scores.

    Plain chats of the cold start are drawn from the correct ones: how often these reflect would decide how often the
    cold-started model does. A policy that has learned to reflect has wrong rollouts of several tries, so these are here.
    """
    wrong = [wrong_response(problem, rng, tries=(1, 1, 2, 3)) for _ in range(2)]
    return [problem.solution, *wrong], [1.0, 0.0, 0.0]
