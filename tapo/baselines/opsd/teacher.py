"""The teacher's rows: the same responses behind the privileged prompt, in TransferQueue while they are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils.tensordict_utils import list_of_dict_to_tensordict
from verl.workers.utils.padding import response_from_nested

from tapo import transfer
from tapo.baselines.opsd.loss import IDS_FIELD, LOG_PROBS_FIELD
from tapo.trainer.batch import deal
from tapo.transfer import KVBatchMeta

PARTITION = "opsd_teacher"
"""Of the teacher's rows, out of the replay buffer's sight."""


@dataclass(frozen=True)
class TeacherRow:
    """A rollout's response behind the prompt that its teacher is given.

    Attributes:
        key: the rollout's.
        prompt_ids, response_ids: token ids.
        positions: the rollout's position ids: [L], or [P, L] of models with several.
    """

    key: str
    prompt_ids: Sequence[int]
    response_ids: torch.Tensor
    positions: torch.Tensor

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt_ids) + len(self.response_ids)

    @property
    def tag(self) -> dict[str, int]:
        """What verl's balancing looks at."""
        return {"seq_len": self.length, "response_len": len(self.response_ids)}

    def fields(self) -> dict[str, torch.Tensor]:
        """What verl's forward pass reads of a row."""
        prompts = torch.tensor(self.prompt_ids, dtype=torch.int64)
        ones = torch.ones_like(self.response_ids)
        return {
            "prompts": prompts,
            "responses": self.response_ids,
            "input_ids": torch.cat([prompts, self.response_ids]),
            "position_ids": torch.arange(self.length).expand(*self.positions.shape[:-1], self.length).clone(),
            "response_mask": ones,
            "loss_mask": ones,
        }


@dataclass(frozen=True)
class Taught:
    """What the teacher says of a rollout's response.

    Attributes:
        log_probs_T: of the sampled tokens.
        tokens: of the prompt that it was given and the response.
        top_k: log-probs and ids of the most probable entries, both [T, K]; None where the loss needs none.
    """

    log_probs_T: torch.Tensor
    tokens: int
    top_k: tuple[torch.Tensor, torch.Tensor] | None


def put_teacher_rows(rows: Sequence[TeacherRow], *, multiple: int, ranks: int) -> KVBatchMeta:
    """Put rows for a forward pass, in shares of equal work for each rank.

    Args:
        multiple: of it the number of rows becomes one, by repetition of the shortest.
    """
    filling = [min(rows, key=lambda row: row.length)] * (-len(rows) % multiple)
    rows = [*rows, *filling]
    keys = [f"{row.key}_{number}" for number, row in enumerate(rows)]
    order = deal([row.tag for row in rows], ranks=ranks, mini_batches=1)
    keys, rows = [keys[i] for i in order], [rows[i] for i in order]
    tags = [row.tag for row in rows]
    transfer.put_rows(keys, PARTITION, list_of_dict_to_tensordict([row.fields() for row in rows]), tags)
    return KVBatchMeta(partition_id=PARTITION, keys=keys, tags=tags, extra_info={})


def take_teacher_rows(batch: KVBatchMeta, *, top_k: bool) -> dict[str, Taught]:
    """What the pass has written, by the rollouts' keys; the rows are deleted."""
    names = ["log_probs", "response_mask", *((LOG_PROBS_FIELD, IDS_FIELD) if top_k else ())]
    data = transfer.read_fields(batch.keys, PARTITION, names)
    transfer.delete_rows(batch.keys, PARTITION)
    mask = data["response_mask"]
    columns = [response_from_nested(data["log_probs"], mask).unbind()]
    columns += [response_from_nested(data[name], mask).unbind() for name in names[2:]]
    taught = {}
    for key, tag, log_probs_T, *entries in zip(batch.keys, batch.tags, *columns, strict=True):
        both = (entries[0], entries[1]) if entries else None
        taught[key.rsplit("_", 1)[0]] = Taught(log_probs_T, tag["seq_len"], both)
    return taught


def divergence_fields(
    keys: Sequence[str], taught: dict[str, Taught], prompt_lengths: Sequence[int], response_lengths: Sequence[int]
) -> TensorDict:
    """The teacher's entries at the positions of the plain rows, and the mask of what is taught.

    At a position stands what is said of the token behind it, as verl's model outputs have it.
    """
    some = next(row.top_k for row in taught.values() if row.top_k)
    rows = []
    for key, prompt, response in zip(keys, prompt_lengths, response_lengths, strict=True):
        entries = taught[key].top_k if key in taught else None
        row: dict[str, Any] = {}
        for number, name in enumerate((LOG_PROBS_FIELD, IDS_FIELD)):
            row[name] = torch.zeros(prompt + response, some[number].shape[-1], dtype=some[number].dtype)
            if entries:
                row[name][prompt - 1 : prompt + response - 1] = entries[number]
        rows.append(row)
    return list_of_dict_to_tensordict(rows)
