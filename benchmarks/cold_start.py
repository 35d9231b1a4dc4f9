"""Construction and mixture at a tenth of the size of a cold start; generation and scoring apart.

    python benchmarks/cold_start.py [--queries 4000] [--folder DIR]

Synthetic rollouts as in `data.py`: K = 8 responses of 1 to 8,192 tokens a query, half of them right. An actor that
answers at once keeps a random part of the wrong response and goes on as long as the right one. Each step runs once in
a process of its own; its peak is all the memory that the process takes, Python and libraries included.
"""

import asyncio
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import typer
from data import VOCABULARY, K, batches
from measure import COST, measure_once, shown
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tapo.cold_start.build import mix, queries_left
from tapo.cold_start.construct import ConstructionTask
from tapo.cold_start.options import Limits, Recipe
from tapo.cold_start.store import ConstructionStore
from tapo.core.asking import Answer
from tapo.core.prompts import CONSTRUCTION_PROMPT
from tapo.data.rollout_store import RolloutStore
from tapo.generation.stream import fill_store
from tapo.terminal import Progress

QUIET = Console(quiet=True)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(number: int) -> str:
    """A word of four letters for each id, another one for each."""
    number = number * 7919 % 26**4
    return "".join(LETTERS[number // 26**place % 26] for place in range(4))


WORDS = [word(number) for number in range(VOCABULARY)]


def tokenizer() -> PreTrainedTokenizerFast:
    """Word by word, so that synthetic ids and texts belong together."""
    words = Tokenizer(models.WordLevel({text: i for i, text in enumerate(WORDS)} | {"<|end|>": VOCABULARY}, "<|end|>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", clean_up_tokenization_spaces=False)


class InstantActor:
    repeats = True

    async def ask(self, attempt, messages, seed) -> Answer:
        draw, candidate = random.Random(seed), attempt.candidate
        wrong, correct = candidate.wrong.text, candidate.correct.text
        kept = wrong[: draw.randrange(len(wrong))].rpartition(" ")[0]
        rest = correct[len(correct) // 2 :].split(" ", 1)[-1]
        new = f"{kept} {WORDS[1]} {WORDS[2]} {WORDS[3]} {rest}"
        return Answer(f"<analysis>The step is wrong.</analysis>\n<reconstruction>\n{new}\n</reconstruction>")


class RightScorer:
    async def score(self, **response) -> float:
        return 1.0


def write_rollouts(folder: Path, queries: int) -> None:
    store = RolloutStore.open_for_append(folder / "rollouts", {"model": "synthetic"})
    for rows in batches(queries):
        store.append(
            [replace(row, responses=[" ".join(WORDS[i] for i in ids) for ids in row.response_ids]) for row in rows]
        )


def nothing(folder: Path, queries: int) -> None:
    """What every step's process takes before it begins, the tokenizer included."""
    tokenizer()


def construct(folder: Path, queries: int) -> None:
    store = ConstructionStore.open_for_append(folder / "out" / "constructions", {"model": "synthetic"})
    limits = Limits(response_length=2 * 8192, require_reflection=False)
    task = ConstructionTask(InstantActor(), RightScorer(), tokenizer(), CONSTRUCTION_PROMPT, limits, seed=1)
    with Progress("constructions", queries, QUIET) as progress:
        source = RolloutStore.open(folder / "rollouts")
        left = queries_left([source], store.done(), progress)
        filling = fill_store(store, left, task, at_once=64, part_size=64, seen=lambda query: progress.advance())
        asyncio.run(filling)


def mixture(folder: Path, queries: int) -> None:
    store = ConstructionStore.open(folder / "out" / "constructions")
    facts = {"model_path": "synthetic", "seed": 1, "template": {}, "prompt": CONSTRUCTION_PROMPT}
    mix(store, Recipe(sft=queries * 3 // 4, ift=queries * 3 // 8), folder / "out", facts, QUIET)


def main(queries: int = 4000, folder: Path | None = None) -> None:
    table = Table(*COST)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        measure_once(write_rollouts, Path(name), queries)
        for step in (nothing, construct, mixture):
            cost = measure_once(step, Path(name), queries)
            table.add_row(step.__name__, *shown(cost, None if step is nothing else K * queries))
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
