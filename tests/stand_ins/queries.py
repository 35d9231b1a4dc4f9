"""Queries as verl's own preprocessing writes them, their rollouts, and an engine to sample them from."""

import asyncio

import pyarrow as pa
import pyarrow.parquet as pq

from tapo.data.rollout_store import QueryRollouts
from tapo.generation.engine import Sample


def row(question="How many?", truth="7", source="s", **changes):
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": question}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"index": 0, "split": "train"},
    } | changes


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_data(path, questions):
    rows = [
        {
            "data_source": "test",
            "prompt": [{"role": "user", "content": question}],
            "reward_model": {"style": "rule", "ground_truth": "7"},
            "extra_info": {"index": f"q{i}"},
        }
        for i, question in enumerate(questions)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def rollouts(index, scores, truth="1", question="q"):
    n = len(scores)
    return QueryRollouts(
        index, "s", [{"role": "user", "content": question}], truth, ["r"] * n, [[1]] * n, ["stop"] * n, scores
    )


class Engine:
    """Answers correctly with even seeds; fails at its `fails_at`-th call."""

    def __init__(self, tokenizer, fails_at=None):
        self.tokenizer, self.fails_at, self.calls = tokenizer, fails_at, []

    async def sample(self, prompt_ids, sampling, *, n, seed):
        self.calls.append((list(prompt_ids), seed))
        if len(self.calls) == self.fails_at:
            raise ConnectionError("gone")
        await asyncio.sleep(0)
        text = rf"\boxed{{{7 if seed % 2 == 0 else 8}}}"
        ids = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
        return [Sample(ids, "stop"), *[Sample(ids[:-1], "length")] * (n - 1)]

    async def close(self):
        pass
