"""Writes generated rollouts of the arithmetic task, errors included, as a store that `tapo cold-start build` reads.

    python examples/arithmetic/seed_rollouts.py QUERIES.parquet STORE --model MODEL [--seed 1]

A model of a million parameters needs more rollouts, and ones that reflect, than it can sample in a minute.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from task import (
    REFLECTION_MARK,
    Problem,
    first_mistake,
    inject_error,
    micro_reflective,
    parse_query,
    reflection,
)

from tapo.chat import load_tokenizer
from tapo.data.queries import Query, QueryFiles
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import fingerprint_of_file

REFLECTIVE_SHARE = 0.3
"""Of the rollouts behind the first right one, since a model that has learned to reflect constructs from such too."""
PART_SIZE = 1024


def reflective_but_wrong(problem: Problem, rng: random.Random) -> str:
    """A rollout that reflects and goes wrong all the same.

    It mends an error and makes another one later, restates an erroneous step wrongly again, or takes back a step that
    was right. Not every problem has room for each of them.
    """
    while True:
        kind = rng.choice(("later", "again", "needless"))
        first, second = inject_error(problem, rng), inject_error(problem, rng)
        early, late = first_mistake(problem, first), first_mistake(problem, second)
        tail = second.splitlines(keepends=True)[late.step - 1 :]
        if kind == "needless":
            right = problem.solution.splitlines(keepends=True)[: late.step]
            term, result = problem.steps[late.step - 1].split(": ")[1].split("=")
            return "".join([*right, f"{REFLECTION_MARK}{term} is not {result}.\n", *tail])
        if kind == "later" and early.step < late.step:
            mended = micro_reflective(problem, first)[early.end :].splitlines(keepends=True)
            return "".join([first[: early.end], *mended[: late.step - early.step + 1], *tail])
        if kind == "again" and early.step == late.step and early.line != late.line:
            return "".join([first[: early.end], f"{reflection(problem, early)}\n", *tail])


def responses(problem: Problem, rng: random.Random) -> tuple[list[str], list[float]]:
    """Two right and two wrong responses, and their scores."""
    reflects = [rng.random() < REFLECTIVE_SHARE for _ in range(3)]
    right = [
        problem.solution,
        micro_reflective(problem, inject_error(problem, rng)) if reflects[0] else problem.solution,
    ]
    wrong = [reflective_but_wrong(problem, rng) if r else inject_error(problem, rng) for r in reflects[1:]]
    return right + wrong, [1.0, 1.0, 0.0, 0.0]


def rollouts(query: Query, tokenizer, seed: int) -> QueryRollouts:
    texts, scores = responses(parse_query(query.question), random.Random(f"{seed} {query.index}"))
    return QueryRollouts(
        index=query.index,
        data_source=query.data_source,
        prompt=query.prompt,
        ground_truth=query.ground_truth,
        responses=texts,
        response_ids=[[*tokenizer.encode(text), tokenizer.eos_token_id] for text in texts],
        finish_reasons=["stop"] * len(texts),
        scores=scores,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("queries", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", required=True, help="whose tokenizer")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    facts = {"data": fingerprint_of_file(options.queries), "generator": fingerprint_of_file(__file__)}
    store = RolloutStore.open_for_append(options.store, facts | {"seed": options.seed})
    done, tokenizer = store.done(), load_tokenizer(options.model)
    rows = [
        rollouts(query, tokenizer, options.seed) for query in QueryFiles(options.queries) if query.index not in done
    ]
    for begin in range(0, len(rows), PART_SIZE):
        store.append(rows[begin : begin + PART_SIZE])
    print(f"{len(rows)} queries with generated rollouts added to {options.store}, {len(done)} were there")


if __name__ == "__main__":
    main()
