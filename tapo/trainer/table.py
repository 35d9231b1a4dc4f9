"""A table of constructed trajectories for the trackers of the run: W&B and TensorBoard."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tapo import transfer
from tapo.core.groups import REF_TAG
from tapo.core.reconstruction import decode, response_text, split_reflection
from tapo.launch.prepare import TABLE_TRACKERS
from tapo.trainer.batch import is_padding
from tapo.trainer.metrics import RefStep, row_values
from tapo.transfer import KVBatchMeta

TABLE = "tapo/trajectories"

COLUMNS = (
    "step",
    "key",
    "query",
    "kept prefix",
    "reflection",
    "correction",
    "dropped tail",
    "reward",
    "advantage",
    "mean weight of prefix",
    "mean weight of correction",
)
"""`query` is the whole prompt. The last column covers the reflection too, as `tapo/ots/weight/correction` does."""


def trajectory_rows(
    batch: KVBatchMeta,
    ref_steps: Sequence[RefStep],
    tokenizer: Any,
    *,
    number: int,
    step: int,
    seed: int,
    keep_prefix: bool,
) -> list[tuple]:
    """Rows of `COLUMNS` for at most `number` constructed rows of a step, drawn by seed and step.

    Args:
        batch: the rows of the step, still in TransferQueue.
        ref_steps: what its constructed rows were trained with, in the batch's order.
        keep_prefix: whether they begin with the wrong rollout's tokens.
    """
    refs = [(key, tag) for key, tag in zip(batch.keys, batch.tags, strict=True) if REF_TAG in tag]
    refs = [(key, tag[REF_TAG]) for key, tag in refs if not is_padding(tag)]
    trained = list(zip(refs, row_values(ref_steps), strict=True))
    drawn = random.Random(f"{seed}/{step}").sample(trained, min(number, len(trained)))
    keys = list(dict.fromkeys(name for (key, tag), _ in drawn for name in (key, tag["source_key"])))
    if not keys:
        return []
    names = ["prompts", "responses", "rm_scores"]
    data = transfer.read_fields(keys, batch.partition_id, names)
    columns = zip(*(data[name].unbind() for name in names), strict=True)
    stored = dict(zip(keys, columns, strict=True))
    rows = []
    for (key, tag), (advantage, weights) in drawn:
        prompt, response, scores = stored[key]
        segments = _segments(response, stored[tag["source_key"]][1], tag["prefix_length"], tokenizer, keep_prefix)
        means = (_mean(weights[: tag["prefix_length"]]), _mean(weights[tag["prefix_length"] :]))
        query = decode(tokenizer, prompt.tolist())
        rows.append((step, key, query, *segments, float(scores.sum()), advantage, *means))
    return rows


def _segments(response: Any, wrong: Any, kept: int, tokenizer: Any, keep_prefix: bool) -> tuple[str, str, str, str]:
    """(prefix, reflection, correction, dropped tail) of a constructed row and the rollout it grew from."""
    text = response_text(response.tolist(), tokenizer)[1]
    wrong_text = response_text(wrong.tolist(), tokenizer)[1]
    prefix = decode(tokenizer, response[:kept].tolist())
    new_text = text.removeprefix(prefix)
    reflection, correction = split_reflection(new_text) if keep_prefix else ("", new_text)
    return prefix, reflection, correction, wrong_text.removeprefix(prefix)


def _mean(weights: Sequence[float]) -> float | None:
    return sum(weights) / len(weights) if weights else None


def log_rows(trackers: Mapping[str, Any], rows: Sequence[tuple], step: int) -> None:
    """Log a step's rows as `TABLE` with every tracker that can show them.

    Args:
        trackers: `Tracking.logger` of the run. W&B gets one table a step; TensorBoard, which has no tables, a text.
    """
    for name, tracker in trackers.items():
        if name == "tensorboard":
            tracker.writer.add_text(TABLE, as_markdown(rows), step)
        elif name in TABLE_TRACKERS:
            table = tracker.Table(columns=list(COLUMNS), data=[list(row) for row in rows])
            tracker.log({TABLE: table}, step=step)


def as_markdown(rows: Sequence[tuple]) -> str:
    """One section a trajectory; texts stand in indented code blocks, which nothing in them can end."""
    return "\n\n".join(_section(dict(zip(COLUMNS, row, strict=True))) for row in rows)


def _section(row: dict[str, Any]) -> str:
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    parts = [
        f"### {row['key']}, step {row['step']}",
        ", ".join(f"{name} {value:.3g}" for name, value in numbers.items()),
    ]
    for name, value in row.items():
        if isinstance(value, str) and name != "key":
            block = "\n".join("    " + line for line in value.splitlines())
            parts.append(f"**{name}**\n\n{block}")
    return "\n\n".join(parts)
