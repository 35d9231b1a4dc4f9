"""One JSON line per trained row: what the update saw."""

from collections.abc import Sequence

from tapo import transfer
from tapo.core.groups import REF_TAG
from tapo.records import RecordWriter, TrainedRecord
from tapo.trainer.batch import is_padding, select
from tapo.trainer.metrics import RefStep, row_values
from tapo.transfer import KVBatchMeta


def dump_trained_rows(
    dump: RecordWriter[TrainedRecord], batch: KVBatchMeta, steps: Sequence[RefStep], step: int
) -> None:
    """Write key, group, reward and advantage of every row; of constructed rows the token weights too.

    `advantage` is the group-normalised one, before token weights.
    """
    if dump.path is None:
        return
    rows = select(batch, [i for i, tag in enumerate(batch.tags) if not is_padding(tag)])
    names = ["uid", "rm_scores", "advantages"]
    data = transfer.read_fields(rows.keys, rows.partition_id, names)
    refs = row_values(steps)
    for i, (key, tag) in enumerate(zip(rows.keys, rows.tags, strict=True)):
        weights = None
        if REF_TAG in tag:
            advantage, weights = next(refs)
        else:
            advantages = data["advantages"][i]
            advantage = float(advantages[advantages.abs().argmax()])
        dump.write(
            TrainedRecord(
                step=step,
                key=key,
                uid=str(data["uid"][i]),
                constructed=REF_TAG in tag,
                reward=float(data["rm_scores"][i].sum()),
                advantage=advantage,
                weights=weights,
            )
        )
