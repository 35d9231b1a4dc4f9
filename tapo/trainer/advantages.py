"""Advantages of a step: the rollouts' by verl, the constructed rows' beside them."""

from typing import Any

import torch
from verl.protocol import DataProto
from verl.trainer.ppo.core_algos import FixedKLController
from verl.trainer.ppo.ray_trainer import apply_kl_penalty
from verl.utils import tensordict_utils as tu
from verl.workers.utils.padding import response_to_nested

from tapo import transfer
from tapo.core.groups import REF_TAG, query_group
from tapo.trainer.batch import is_padding, split
from tapo.trainer.contrast import (
    Contrast,
    contrast_of,
    contrast_with,
    coupled_advantages,
    last_outputs,
    query_of,
    session_of,
)
from tapo.trainer.ref_advantage import RefRow, ref_rows
from tapo.transfer import KVBatchMeta


class RefAdvantages:
    """Mixin of verl's trainers: rollouts pass through verl's own method, in the batch that GRPO would give them."""

    def _compute_advantage(self: Any, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        rollouts, refs = split(batch)
        written = super()._compute_advantage(rollouts, metrics)
        if len(refs):
            siblings = self._rollouts_of_constructed(rollouts, refs) if self._couples() else None
            rows = self._compute_ref_advantage(refs, siblings, "rollout_is_weights" in (written.fields or ()))
            if siblings:
                self._couple(rollouts, siblings, rows)
        return batch

    def _couples(self: Any) -> bool:
        """Whether constructed rows share the rollouts' group; rows that are not trained do not touch it."""
        return self.tapo.advantage == "coupled" and self._lambda_ref() > 0

    def _rollouts_of_constructed(self: Any, rollouts: KVBatchMeta, refs: KVBatchMeta) -> dict[str, float]:
        """{key: reward} of the rollouts whose query has constructed rows, one of each session."""
        queries = {query_of(key) for key, tag in zip(refs.keys, refs.tags, strict=True) if not is_padding(tag)}
        real = (key for key, tag in zip(rollouts.keys, rollouts.tags, strict=True) if not is_padding(tag))
        keys = list(last_outputs(key for key in real if query_of(key) in queries).values())
        return dict(zip(keys, self._rewards(keys, rollouts.partition_id), strict=True))

    def _couple(self: Any, rollouts: KVBatchMeta, reward: dict[str, float], rows: list[RefRow]) -> None:
        """Write the advantages that rollouts have in one group with the constructed rows."""
        constructed = contrast_of((query_group(row.uid) for row in rows), (row.reward for row in rows))
        by_std = self.config.algorithm.get("norm_adv_by_std_in_grpo", True)
        advantage = coupled_advantages(reward, constructed, normalize_by_std=by_std)
        of_session = {session_of(key): value for key, value in advantage.items()}
        keys = [key for key in rollouts.keys if session_of(key) in of_session]
        mask = transfer.read_fields(keys, rollouts.partition_id, ["response_mask"])["response_mask"]
        values = [of_session[session_of(key)] * row for key, row in zip(keys, mask.unbind(), strict=True)]
        advantages = torch.nested.as_nested_tensor([row.float() for row in values], layout=torch.jagged)
        fields = tu.get_tensordict({"advantages": advantages, "returns": advantages})
        transfer.write_fields(keys, rollouts.partition_id, fields)

    def _contrast(self: Any, uids: list[str], tags: list[dict], partition_id: str) -> Contrast | None:
        """What the constructed rows of each group are compared with (see `TapoConfig.contrast`)."""
        if self.tapo.contrast != "source":
            return None
        return contrast_of(uids, self._rewards([tag["source_key"] for tag in tags], partition_id))

    def _compute_ref_advantage(
        self: Any, refs: KVBatchMeta, siblings: dict[str, float] | None, with_is_weights: bool
    ) -> list[RefRow]:
        """Write the advantages of constructed rows, and the fields that rollouts carry too.

        Args:
            siblings: {key: reward} of the rollouts that share their groups; None where they are decoupled.
        """
        names = ["uid", "response_mask", "rm_scores", "old_log_probs", "entropy", "ref_log_prob"]
        fields = transfer.read_fields(refs.keys, refs.partition_id, names)
        nested_mask = fields["response_mask"]
        uids = [str(uid) for uid in fields.pop("uid").tolist()]
        data = DataProto(batch=fields.to_padded_tensor())
        data.batch["token_level_scores"] = data.batch["token_level_rewards"] = data.batch["rm_scores"]
        if self.config.algorithm.use_kl_in_reward:
            # A controller of its own: constructed rows must not move the run's coefficient.
            controller = FixedKLController(self.kl_ctrl_in_reward.value)
            data, _ = apply_kl_penalty(data, kl_ctrl=controller, kl_penalty=self.config.algorithm.kl_penalty)

        real = [i for i, tag in enumerate(refs.tags) if not is_padding(tag)]
        tags = [refs.tags[i][REF_TAG] for i in real]
        real_uids = [uids[i] for i in real]
        contrast = self._contrast(real_uids, tags, refs.partition_id) if siblings is None else contrast_with(siblings)
        rows = ref_rows(data.batch[real], real_uids, tags, contrast, self.tapo, self.config.algorithm)
        advantages = torch.zeros_like(data.batch["old_log_probs"], dtype=torch.float32)
        for i, row in zip(real, rows, strict=True):
            self._ref_rows[refs.keys[i]] = row
            advantages[i, data.batch["response_mask"][i].bool()] = row.advantage * row.weights_T
        output = {"advantages": advantages, "returns": advantages}
        if self.config.algorithm.use_kl_in_reward:
            output["token_level_rewards"] = data.batch["token_level_rewards"]
        if with_is_weights:
            # No behaviour policy sampled these rows from the query, so there is no ratio to correct.
            output["rollout_is_weights"] = torch.ones_like(advantages)
        nested = {name: response_to_nested(value, nested_mask) for name, value in output.items()}
        transfer.write_fields(refs.keys, refs.partition_id, tu.get_tensordict(nested))
        return rows

    def _rewards(self: Any, keys: list[str], partition_id: str) -> list[float]:
        """Rewards of N rows that the rollouts' advantages have already been computed for."""
        name = "token_level_rewards" if self.config.algorithm.use_kl_in_reward else "rm_scores"
        distinct = list(dict.fromkeys(keys))
        data = transfer.read_fields(distinct, partition_id, [name])
        reward = dict(zip(distinct, (float(row.sum()) for row in data[name].unbind()), strict=True))
        return [reward[key] for key in keys]
