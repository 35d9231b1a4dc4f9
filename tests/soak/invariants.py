"""What must be true of a run behind the faults: of each of its steps, of its dump, and of what it holds."""

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from tapo.core.funnel import REASONS
from tapo.records import ConstructionRecord, RecordReader, TrainedRecord
from tests.soak.chance import STEPS_FILE
from tests.soak.reward import WRONG_SCORE
from tests.soak.run import PROMPTS, ROLLOUTS, Sample

Step = dict[str, Any]


def steps_of(folder: Path) -> list[Step]:
    """In the order in which they were trained, those that were trained again among them."""
    return [json.loads(line) for line in (folder / STEPS_FILE).read_text().splitlines()]


def faults_of(folder: Path) -> Counter[str]:
    return Counter(json.loads(line) for path in folder.glob("faults-*.jsonl") for line in path.read_text().splitlines())


def wrong_steps(steps: Iterable[Step]) -> Iterator[str]:
    """Rollouts without GRPO's advantages, funnels that do not add up, rows that are double or half there."""
    for step in steps:
        yield from (f"step {step['step']}: {what}" for what in wrong_step(step))


def wrong_step(step: Step) -> Iterator[str]:
    rows, metrics = step["rows"], step["metrics"]
    if len({row["key"] for row in rows}) < len(rows):
        yield "a row is there twice"
    groups = defaultdict(list)
    for row in rows:
        if not math.isfinite(row["advantage"]) or not math.isfinite(row["reward"]):
            yield f"row {row['key']} has reward {row['reward']}, advantage {row['advantage']}"
        if not row["constructed"]:
            groups[row["uid"]].append(row)
    if len(groups) != PROMPTS or any(len(group) > ROLLOUTS for group in groups.values()):
        yield f"groups of {[len(group) for group in groups.values()]}"
    for group in groups.values():
        got = torch.tensor([row["advantage"] for row in group])
        if not torch.allclose(got, grpo(group), atol=1e-4):
            yield f"advantages {got.tolist()}, GRPO's {grpo(group).tolist()}"
    rejected = sum(metrics[f"tapo/construct/rejected/{reason}"] for reason in REASONS)
    attempted, trained = metrics["tapo/construct/attempted"], metrics["tapo/construct/trained"]
    if attempted != trained + rejected:
        yield f"{attempted} attempted, {trained} trained, {rejected} rejected"
    constructed = sum(row["constructed"] for row in rows)
    if constructed < trained or (constructed > trained and metrics["tapo/groups/total"] == PROMPTS):
        yield f"{constructed} constructed rows where {trained} are counted"
    if not math.isfinite(metrics["actor/grad_norm"]):
        yield "no finite gradient"


def grpo(group: list[dict[str, Any]]) -> torch.Tensor:
    rewards = torch.tensor([[row["reward"]] for row in group])
    advantages, _ = compute_grpo_outcome_advantage(rewards, torch.ones_like(rewards), np.array(["group"] * len(group)))
    return advantages[:, 0]


def wrong_dump(folder: Path, steps: list[Step]) -> Iterator[str]:
    """Of an unbroken run: records that are neither there nor counted as lost."""
    readers = [RecordReader(folder / "dump", kind) for kind in (ConstructionRecord, TrainedRecord)]
    constructions, trained = (sum(1 for _ in reader) for reader in readers)
    lost = sum(step["metrics"]["tapo/dump/lost"] for step in steps)
    attempted = sum(step["metrics"]["tapo/construct/attempted"] for step in steps)
    rows = sum(len(step["rows"]) for step in steps)
    uncounted = sum(PROMPTS - step["metrics"]["tapo/groups/total"] for step in steps)
    missing = attempted + rows - lost - constructions - trained
    # Groups whose counts were not put have their lines in the dump, at most four each.
    if not -4 * uncounted <= missing <= 0:
        yield f"{missing} records are neither in the dump nor counted as lost"


def wrong_rewards(folder: Path) -> Iterator[str]:
    if number := faults_of(folder)[WRONG_SCORE]:
        yield f"{number} rewards that are not what the answer says"


def queries_by_step(steps: Iterable[Step]) -> dict[int, list[tuple[str, ...]]]:
    """The queries of each step, once for each time that it was trained."""
    queries: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for step in steps:
        queries[step["step"]].append(tuple(sorted({row["query"] for row in step["rows"]})))
    return queries


def wrong_order(broken: list[Step], unbroken: list[Step]) -> Iterator[str]:
    """Steps of a broken run whose queries are not those of an unbroken one."""
    expected = queries_by_step(unbroken)
    for step, seen in queries_by_step(broken).items():
        if any(queries != expected[step][0] for queries in seen):
            yield f"step {step} has other queries than in an unbroken run"


def growth(samples: Iterable[Sample]) -> dict[str, tuple[float, float]]:
    """Of each kind of process that is always there: how much more memory (MiB) and how many more open files it holds in
    the last quarter of an unbroken run than in the second (medians)."""
    kinds = defaultdict(list)
    for sample in samples:
        kinds[sample.kind].append(sample)
    last = max(sample.step for kind in kinds.values() for sample in kind)
    grown = {}
    for kind, of_kind in kinds.items():
        before = [one for one in of_kind if last / 4 < one.step <= last / 2]
        behind = [one for one in of_kind if one.step > last * 3 / 4]
        if before and behind:
            grown[kind] = (
                statistics.median(s.memory_mib for s in behind) - statistics.median(s.memory_mib for s in before),
                statistics.median(s.open_files for s in behind) - statistics.median(s.open_files for s in before),
            )
    return grown
