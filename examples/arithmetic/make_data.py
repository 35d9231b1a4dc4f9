"""Writes the data of the arithmetic example in verl's formats.

    python examples/arithmetic/make_data.py FOLDER [--train 2048] [--test 256] [--sft-train 8192] [--sft-val 256]

`train.parquet` and `test.parquet` hold problems for RL. `sft_train.parquet` and `sft_val.parquet` hold the cold start:
right solutions and micro-reflective trajectories as answers to the plain query, and tagged constructions as answers to
the construction prompt. Its rollouts are generated, errors included, so that it takes seconds and needs no model.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pandas as pd
from task import (
    REFLECTION_MARK,
    Problem,
    construction,
    first_mistake,
    generate_problem,
    inject_error,
    micro_reflective,
    reflection,
)

PROMPT_FILE = Path(__file__).parent / "construction_prompt.txt"
KINDS = ("solution", "reflective", "construction")


def draw_problems(rng: random.Random, split: str, count: int, taken: set[str]) -> list[Problem]:
    """Distinct problems of a split, none of them in `taken`, which they join."""
    problems = []
    while len(problems) < count:
        problem = generate_problem(rng, split)
        if problem.query not in taken:
            taken.add(problem.query)
            problems.append(problem)
    return problems


def rl_row(problem: Problem, split: str, index: int) -> dict:
    return {
        "data_source": "arithmetic",
        "prompt": [{"role": "user", "content": problem.query}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(problem.answer)},
        "extra_info": {"index": index, "split": split},
    }


def sft_row(problem: Problem, kind: str, rng: random.Random, reflective_share: float) -> dict:
    """One chat of the cold start, of a kind in `KINDS`."""
    user, assistant = problem.query, problem.solution
    if kind == "reflective":
        assistant = micro_reflective(problem, inject_error(problem, rng))
    elif kind == "construction":
        # Once a model reflects, so do the rollouts that it has to construct from.
        wrong = reflective_but_wrong(problem, rng) if rng.random() < reflective_share else inject_error(problem, rng)
        correct = problem.solution
        if rng.random() < reflective_share:
            correct = micro_reflective(problem, inject_error(problem, rng))
        user = PROMPT_FILE.read_text().format(query=problem.query, wrong=wrong, correct=correct)
        assistant = construction(problem, wrong, correct)
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return {"messages": messages, "kind": kind}


def reflective_but_wrong(problem: Problem, rng: random.Random) -> str:
    """A rollout that reflects and goes wrong all the same.

    Equally often it mends an error and makes another one later, restates an erroneous step wrongly again, or takes
    back a step that was right.
    """
    kind = rng.choice(("later", "again", "needless"))
    while True:
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


def sft_rows(problems: list[Problem], rng: random.Random, mixture: list[float], reflective_share: float) -> list[dict]:
    kinds = rng.choices(KINDS, mixture, k=len(problems))
    return [sft_row(problem, kind, rng, reflective_share) for problem, kind in zip(problems, kinds, strict=True)]


def build_tables(options: argparse.Namespace) -> dict[str, list[dict]]:
    """All tables by file name; no problem is in two of them."""
    rng = random.Random(options.seed)
    taken: set[str] = set()
    tables = {
        split: [rl_row(p, split, i) for i, p in enumerate(draw_problems(rng, split, getattr(options, split), taken))]
        for split in ("train", "test")
    }
    for name, split, count in (("sft_train", "train", options.sft_train), ("sft_val", "test", options.sft_val)):
        problems = draw_problems(rng, split, count, taken)
        tables[name] = sft_rows(problems, rng, options.mixture, options.reflective_share)
    return tables


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=2048, help="RL problems")
    parser.add_argument("--test", type=int, default=256, help="held-out RL problems")
    parser.add_argument("--sft-train", type=int, default=8192, help="cold-start chats")
    parser.add_argument("--sft-val", type=int, default=256, help="held-out cold-start chats")
    parser.add_argument("--mixture", type=float, nargs=3, default=[0.4, 0.1, 0.5], metavar=tuple(map(str.upper, KINDS)))
    parser.add_argument("--reflective-share", type=float, default=0.3, help="constructions from reflective rollouts")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, rows in build_tables(options).items():
        pd.DataFrame(rows).to_parquet(options.folder / f"{name}.parquet")
        print(f"{len(rows):6d} rows  {options.folder / name}.parquet")


if __name__ == "__main__":
    main()
