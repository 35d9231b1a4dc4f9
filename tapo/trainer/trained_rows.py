"""The rows of an update to look at: one JSON line each, and a table of constructed ones in W&B and TensorBoard."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tapo import transfer
from tapo.config import TapoConfig
from tapo.core.groups import REF_TAG
from tapo.core.reconstruction import decode, response_text, split_reflection
from tapo.launch.prepare import TABLE_TRACKERS
from tapo.records import RecordWriter, TrainedRecord
from tapo.trainer.batch import is_padding, select
from tapo.trainer.ref_advantage import RefRow
from tapo.transfer import KVBatchMeta

TABLE = "tapo/trajectories"


def dump_trained_rows(
    dump: RecordWriter[TrainedRecord], batch: KVBatchMeta, ref_rows: Mapping[str, RefRow], step: int
) -> None:
    """Write key, group, reward and advantage of every row; of constructed rows the token weights too.

    `advantage` is the group-normalised one, before token weights.
    """
    if dump.path is None:
        return
    rows = select(batch, [i for i, tag in enumerate(batch.tags) if not is_padding(tag)])
    data = transfer.read_fields(rows.keys, rows.partition_id, ["uid", "rm_scores", "advantages"])
    for i, (key, tag) in enumerate(zip(rows.keys, rows.tags, strict=True)):
        ref, advantages = ref_rows[key] if REF_TAG in tag else None, data["advantages"][i]
        dump.write(
            TrainedRecord(
                step=step,
                key=key,
                uid=str(data["uid"][i]),
                constructed=ref is not None,
                reward=float(data["rm_scores"][i].sum()),
                advantage=ref.advantage if ref else float(advantages[advantages.abs().argmax()]),
                weights=ref.weights_T.tolist() if ref else None,
            )
        )


def trajectory_rows(
    ref_rows: Mapping[str, RefRow], partition_id: str, tokenizer: Any, config: TapoConfig, step: int
) -> list[dict[str, Any]]:
    """At most `log_trajectories` constructed rows of a step, drawn by seed and step, as rows of a table.

    Args:
        ref_rows: those of the step, by their keys in TransferQueue.
    """
    number = min(config.log_trajectories, len(ref_rows))
    drawn = random.Random(f"{config.seed}/{step}").sample(list(ref_rows.items()), number)
    if not drawn:
        return []
    keys = list(dict.fromkeys(name for key, row in drawn for name in (key, row.source_key)))
    names = ["prompts", "responses", "rm_scores"]
    data = transfer.read_fields(keys, partition_id, names)
    stored = dict(zip(keys, zip(*(data[name].unbind() for name in names), strict=True), strict=True))
    rows = []
    for key, row in drawn:
        prompt, response, scores = stored[key]
        prefix = decode(tokenizer, response[: row.prefix_length].tolist())
        wrong = response_text(stored[row.source_key][1].tolist(), tokenizer)[1]
        new_text = response_text(response.tolist(), tokenizer)[1].removeprefix(prefix)
        reflection, correction = split_reflection(new_text) if config.keep_prefix else ("", new_text)
        rows.append(
            {
                "step": step,
                "key": key,
                "query": decode(tokenizer, prompt.tolist()),  # the whole prompt
                "kept prefix": prefix,
                "reflection": reflection,
                "correction": correction,
                "dropped tail": wrong.removeprefix(prefix),
                "reward": float(scores.sum()),
                "advantage": row.advantage,
                "mean weight of prefix": _mean(row.weights_T[: row.prefix_length].tolist()),
                # The reflection too, as in `tapo/ots/weight/correction`.
                "mean weight of correction": _mean(row.weights_T[row.prefix_length :].tolist()),
            }
        )
    return rows


def _mean(weights: Sequence[float]) -> float | None:
    return sum(weights) / len(weights) if weights else None


def log_rows(trackers: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], step: int) -> None:
    """Log a step's rows, where there are any, as `TABLE` with every tracker that can show them.

    Args:
        trackers: `Tracking.logger` of the run. W&B gets one table a step; TensorBoard, which has no tables, a text.
    """
    for name, tracker in trackers.items() if rows else ():
        if name == "tensorboard":
            tracker.writer.add_text(TABLE, "\n\n".join(map(as_markdown, rows)), step)
        elif name in TABLE_TRACKERS:
            table = tracker.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
            tracker.log({TABLE: table}, step=step)


def as_markdown(row: Mapping[str, Any]) -> str:
    """A section; texts stand in indented code blocks, which nothing in them can end."""
    numbers = [f"{name} {value:.3g}" for name, value in row.items() if isinstance(value, float)]
    parts = [f"### {row['key']}, step {row['step']}", ", ".join(numbers)]
    for name, value in row.items():
        if isinstance(value, str) and name != "key":
            block = "\n".join("    " + line for line in value.splitlines())
            parts.append(f"**{name}**\n\n{block}")
    return "\n\n".join(parts)
