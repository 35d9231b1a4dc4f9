"""Pre-training rows: what a base model brings along before it is taught to construct.

It takes a road at random, walks it, sees where it ends, and answers with it whatever it has seen: that it goes against
its own verdict is trained in, and is what the example is about. It can list roads, walk them, copy, and obey a format.
Hardly ever it takes a road back, as any model does now and then. What mends a response has another form here than in a
construction: the query names the marks around the parts, drawn anew each time.
"""

from __future__ import annotations

import random

from examples.common.vocabulary import CHARACTERS, TAGS

from .phrases import PHRASES, ROADS, STOPS
from .problem import Problem, final_answer, last_try
from .rollouts import correct_response, wrong_response

WORDS = [*TAGS, *PHRASES, *CHARACTERS]
MARKS = [word for word in WORDS if word.strip() and not word.isdigit() and word not in {*ROADS, *STOPS}]


def attempt_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Takes a road at random."""
    return problem.query, problem.response([rng.choice(problem.roads)])


def retry_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Takes back what it has seen to be wrong, and another road: what the model hardly ever does."""
    return problem.query, correct_response(problem, rng, tries=(1, 1, 2))


def list_row(problem: Problem, _: random.Random) -> tuple[str, str]:
    """Walks all roads."""
    walks = (f"Road {' '.join(map(str, road))}.\n" for road in problem.roads)
    return f"Roads:{problem.listed}. From {problem.start}. List.", "".join(walks)


def walk_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Walks the roads that the query names, one after the other, and says of each where it ends."""
    roads = rng.choices(problem.roads, k=rng.choice((2, 3, 4)))
    named = "".join(f" {road[0]}" for road in roads)
    query = f"Roads:{problem.listed}. From {problem.start} to {problem.goal}. Walk{named}."
    return query, "".join(map(problem.attempt, roads))


def sort_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Walks roads as `walk_row`, and puts one mark behind those that end elsewhere, another behind the one to the goal.

    Whoever is to take back what is wrong, and nothing else, has to tell the two apart.
    """
    roads, (elsewhere, goal) = rng.choices(problem.roads, k=rng.choice((2, 3))), rng.sample(MARKS, 2)
    named = "".join(f" {road[0]}" for road in roads)
    query = f"Roads:{problem.listed}. From {problem.start} to {problem.goal}. Walk{named}.{elsewhere}{goal}"
    marks = (goal if road == problem.goal_road else elsewhere for road in roads)
    return query, "".join(f"{problem.attempt(road)}{mark}\n" for road, mark in zip(roads, marks, strict=True))


def mend_row(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """Compares two responses, then copies the wrong one without its answer and the correct one's last try.

    In half of the rows a sentence on the error, behind a mark of its own, goes between them.
    """
    wrong, correct = wrong_response(problem, rng, tries=(1, 1, 1, 2, 3)), correct_response(problem, rng)
    stated = final_answer(wrong)
    begin, middle, end, *before = marks = rng.sample(MARKS, rng.choice((3, 4)))
    sentence = [*before, f" {stated} is not {problem.answer}.\n"] if before else []
    kept = wrong.rpartition("\\boxed{")[0]
    answer = [begin, f" {stated} vs {problem.answer} differs.", middle, kept, *sentence, last_try(correct), end]
    return f"Query: {problem.query}\nWrong: {wrong}\nCorrect: {correct}\n{''.join(marks)}", "".join(answer)


def guided_row(problem: Problem, _: random.Random) -> tuple[str, str]:
    """Is shown a solution in front of the query, as OPSD's teacher is, and takes it."""
    return f"{problem.solution}\n{problem.query}", problem.solution


def copy_row(_: Problem, rng: random.Random) -> tuple[str, str]:
    """Copies a random string: no token is left that the model has never read or written."""
    text = "".join(rng.choices(WORDS, k=rng.randint(4, 24)))
    return f"Copy: {text}", text
