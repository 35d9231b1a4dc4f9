"""Writes a task's data in verl's formats.

    python examples/common/make_data.py TASK FOLDER [--train 2048] [--test 256] [--sampled 256] [--seeded 9216]

`train.parquet` and `test.parquet` hold problems for RL. The cold start has problems of its own: those of
`sampled.parquet` are for the base model to solve, those of `seeded.parquet` for `seed_rollouts.py`, and the chats of
`replay.parquet` (`--replay`) are drills of pre-training that it goes on with.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pandas as pd

from examples.common.task import Problem, Task, load_task

SPLITS = {"train": "train", "test": "test", "sampled": "train", "seeded": "train"}
"""Each table's split of the task's problems."""
MAX_REPEATS = 10_000
"""Draws in a row without a new problem after which a split counts as used up."""


def draw_problems(task: Task, rng: random.Random, split: str, count: int, taken: set[str]) -> list[Problem]:
    """Distinct problems of a split, none of them in `taken`, which they join; ValueError if there are too few."""
    problems: list[Problem] = []
    repeats = 0
    while len(problems) < count:
        problem = task.draw(rng, split)
        repeats += 1
        if problem.query not in taken:
            taken.add(problem.query)
            problems.append(problem)
            repeats = 0
        elif repeats == MAX_REPEATS:
            raise ValueError(
                f"{task.name} has no {count} further problems of the {split} split: got {len(problems)}; ask for fewer"
            )
    return problems


def rl_row(task: Task, problem: Problem, table: str, number: int) -> dict:
    return {
        "data_source": task.name,
        "prompt": [{"role": "user", "content": problem.query}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(problem.answer)},
        # The reward is not shown the prompt; examples.common.reward reads the query here.
        "extra_info": {"index": f"{table}/{number}", "split": problem.split, "query": problem.query},
    }


def build_tables(options: argparse.Namespace) -> dict[str, list[dict]]:
    """All tables by file name; no problem is in two of them."""
    task, rng = load_task(options.task), random.Random(options.seed)
    taken: set[str] = set()
    return {
        name: [
            rl_row(task, problem, name, number)
            for number, problem in enumerate(draw_problems(task, rng, split, getattr(options, name), taken))
        ]
        for name, split in SPLITS.items()
    }


def replay_chats(options: argparse.Namespace) -> list[dict]:
    """Chats as `tapo cold-start build` writes them, of the drills that the task goes on with; ValueError if of none."""
    task, rng = load_task(options.task), random.Random(f"{options.seed} replay")
    if not task.replay:
        raise ValueError(f"--replay {options.replay}: {task.name} names no drills that a cold start goes on with")
    chats = []
    for kind in rng.choices(list(task.replay), list(task.replay.values()), k=options.replay):
        user, assistant = task.drills[kind].draw(task.draw(rng, "train"), rng)
        chats.append({"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]})
    return chats


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="folder of the task")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=2048, help="RL problems")
    parser.add_argument("--test", type=int, default=256, help="held-out RL problems")
    parser.add_argument("--sampled", type=int, default=256, help="cold-start problems for the base model")
    parser.add_argument("--seeded", type=int, default=9216, help="cold-start problems with generated rollouts")
    parser.add_argument("--replay", type=int, default=0, help="chats of pre-training for the cold start to go on with")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    tables = build_tables(options)
    if options.replay:
        tables["replay"] = replay_chats(options)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_parquet(options.folder / f"{name}.parquet")
        print(f"{len(rows):6d} rows  {options.folder / name}.parquet")


if __name__ == "__main__":
    main()
