"""Store, pass-rate filter and decontamination at a tenth of the size of a cold start.

    python benchmarks/data.py [--queries 4000] [--folder DIR]

Synthetic rollouts: K = 8 responses of 1 to 8,192 tokens a query, in parts of 64 queries. Each step runs once in a
process of its own; its peak is all the memory that the process takes, Python and libraries included. "CPU rollouts/s"
counts the seconds that the process had a core. Writes about 0.2 MB a query to a temporary folder and deletes it.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from measure import COST, measure_once, shown
from rich.console import Console
from rich.table import Table

from tapo.data.decontamination import Decontaminator, decontaminate
from tapo.data.options import FilterOptions
from tapo.data.pass_rate import filter_queries
from tapo.data.queries import QueryFiles
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.data.text import prompt_of

K, TOKENS, PART, VOCABULARY = 8, 8192, 64, 150_000
EVALUATION, TRAINING = 90, 40_000
DRAW = np.random.default_rng(0)
WORDS = np.array(["".join(chr(97 + c) for c in DRAW.integers(0, 26, DRAW.integers(1, 7))) for _ in range(VOCABULARY)])
QUESTION_WORDS = WORDS[:2000].tolist()


def query(number: int) -> str:
    start = f"Let $N_{{{number}}}$ be the number of ordered pairs $(a, b)$ of positive integers such that "
    return start + " ".join(random.Random(number).choices(QUESTION_WORDS, k=60))


def rollouts(number: int) -> QueryRollouts:
    ids = [DRAW.integers(0, VOCABULARY, length) for length in DRAW.integers(1, TOKENS + 1, K)]
    return QueryRollouts(
        index=f"synthetic/{number}",
        data_source="synthetic",
        prompt=prompt_of(query(number)),
        ground_truth="1",
        responses=[" ".join(WORDS[response]) for response in ids],
        response_ids=[response.tolist() for response in ids],
        finish_reasons=["stop"] * K,
        scores=DRAW.integers(0, 2, K).astype(float).tolist(),
    )


def batches(queries: int) -> Iterator[list[QueryRollouts]]:
    for start in range(0, queries, PART):
        yield [rollouts(number) for number in range(start, min(start + PART, queries))]


def append(folder: Path, queries: int) -> dict[str, float]:
    """Only `append` itself is timed, not the drawing of the rollouts."""
    store = RolloutStore.open_for_append(folder / "store", {"model": "synthetic"})
    seconds = cpu = size = 0.0
    for rows in batches(queries):
        before, cpu_before = time.perf_counter(), time.process_time()
        store.append(rows)
        seconds, cpu = seconds + time.perf_counter() - before, cpu + time.process_time() - cpu_before
        size += RolloutStore.to_table(rows).nbytes
    return {"seconds": seconds, "cpu": cpu, "size": size}


def nothing(folder: Path, queries: int) -> None:
    """What every step's process takes before it begins."""


def iterate(folder: Path, queries: int) -> None:
    assert sum(len(row.response_ids) for row in RolloutStore.open(folder / "store")) == K * queries


def resume(folder: Path, queries: int) -> None:
    assert len(RolloutStore.open_for_append(folder / "store", {"model": "synthetic"}).done()) == queries


def filter_(folder: Path, queries: int) -> None:
    store = RolloutStore.open(folder / "store")
    data, out = folder / "train.parquet", folder / "rl.parquet"
    options = FilterOptions(rollouts=store.folder, data=(data,), out=out, allow_missing=True)
    report = filter_queries(options, store, QueryFiles(data))
    assert report["queries"] == TRAINING and report["histogram"]


def decontaminate_(folder: Path, queries: int) -> None:
    index = Decontaminator(files=[folder / "test.parquet"])
    kept, dropped = decontaminate(folder / "train.parquet", index, folder / "clean.parquet", folder / "report.jsonl")
    assert (kept, dropped) == (TRAINING - EVALUATION, EVALUATION)


def write_queries(path: Path, numbers: range) -> None:
    rows = [
        {
            "data_source": "synthetic",
            "prompt": prompt_of(query(number)),
            "reward_model": {"style": "rule", "ground_truth": "1"},
            "extra_info": {"index": number, "split": path.stem},
        }
        for number in numbers
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def main(queries: int = 4000, folder: Path | None = None) -> None:
    table = Table(*COST)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        write_queries(scratch / "test.parquet", range(EVALUATION))
        write_queries(scratch / "train.parquet", range(TRAINING))
        for label, step, rows in (
            ("nothing", nothing, None),
            ("append", append, K * queries),
            ("iterate, all columns", iterate, K * queries),
            ("resume: which queries are done", resume, K * queries),
            (f"filter, data of {TRAINING} queries", filter_, K * queries),
            (f"decontaminate, {TRAINING} queries against {EVALUATION}", decontaminate_, None),
        ):
            cost = measure_once(step, scratch, queries)
            table.add_row(label, *shown(cost, rows))
            if "size" in cost:
                table.title = f"{K * queries} rollouts, {cost['size'] / 1e9:.2f} GB of text and ids"
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
