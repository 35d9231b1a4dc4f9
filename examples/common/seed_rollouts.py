"""Writes a task's generated rollouts as a store that `tapo cold-start build` reads.

python examples/common/seed_rollouts.py TASK QUERIES.parquet STORE --model MODEL [--seed 1]
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from examples.common.task import Task, load_task
from tapo.chat import load_tokenizer
from tapo.data.queries import Query, QueryFiles
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import fingerprint_of_file

PART_SIZE = 1024


def rollouts(task: Task, query: Query, tokenizer, seed: int) -> QueryRollouts:
    texts, scores = task.seeded(task.parse(query.question), random.Random(f"{seed} {query.index}"))
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


def facts(options: argparse.Namespace) -> dict[str, str | int]:
    """What decides about the rollouts: the store of another task, or of another version of it, is not added to."""
    code = {path.name: fingerprint_of_file(path) for path in sorted(Path(options.task).glob("*.py"))}
    return {"data": fingerprint_of_file(options.queries), "generator": code, "seed": options.seed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="folder of the task")
    parser.add_argument("queries", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", required=True, help="whose tokenizer")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    task, tokenizer = load_task(options.task), load_tokenizer(options.model)
    store = RolloutStore.open_for_append(options.store, facts(options))
    done = store.done()
    rows = [
        rollouts(task, query, tokenizer, options.seed)
        for query in QueryFiles(options.queries)
        if query.index not in done
    ]
    for begin in range(0, len(rows), PART_SIZE):
        store.append(rows[begin : begin + PART_SIZE])
    print(f"{len(rows)} queries with generated rollouts added to {options.store}, {len(done)} were there")


if __name__ == "__main__":
    main()
