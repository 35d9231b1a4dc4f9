"""verl's SFT dataset, tokenised exactly as RL tokenises prompt and response.

verl's own class renders each message by itself and masks as many tokens as a generation prompt has. With templates
that treat the last turn differently (Qwen3: an empty thinking block) the two renderings disagree. Here the prompt is
what a rollout would be given, generation prompt included, and the response what a rollout would sample, the token
included that ends the model's turns.
"""

import json
from typing import Any

import pyarrow.parquet as pq
import torch
from verl.utils.dataset.dataset_utils import DatasetPadMode
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

from tapo.chat import prompt_ids
from tapo.cold_start.chats import END_KEY, TEMPLATE_KEY


class ColdStartDataset(MultiTurnSFTDataset):
    """Chats whose last message is the assistant's and alone is learned, with the token that the rollouts end with
    behind it (EOS where the files do not say).

    The chat template gets the arguments that the responses were sampled with, where the files tell them.

    Takes the place of verl's class by `data.custom_cls.path=pkg://tapo.cold_start.sft_dataset
    data.custom_cls.name=ColdStartDataset`; reads the same parquet and the same options.

    Raises:
        ValueError: with `data.apply_chat_template_kwargs` the first prompt is rendered otherwise than with the
            arguments that the responses were sampled with.
    """

    apply_chat_template_kwargs: Any

    def _read_files_and_process(self) -> None:
        files = {path: pq.read_schema(path).metadata or {} for path in self.parquet_files}
        templates = {path: json.loads(known[TEMPLATE_KEY]) for path, known in files.items() if TEMPLATE_KEY in known}
        if not self.apply_chat_template_kwargs:
            self.apply_chat_template_kwargs = next(iter(templates.values()), {})
        super()._read_files_and_process()
        for path, sampled in templates.items():
            self._check_template(sampled, path)
        self._end = self.tokenizer.eos_token_id
        for known in files.values():
            end = json.loads(known.get(END_KEY, b"null"))
            # Whatever else a text may end with is no end of a turn.
            if end in self.tokenizer.all_special_ids:
                self._end = end

    def _check_template(self, sampled: dict[str, Any], path: str) -> None:
        own = dict(self.apply_chat_template_kwargs)
        prompt = self.messages[0][:-1]
        if own != sampled and prompt_ids(prompt, self.tokenizer, own) != prompt_ids(prompt, self.tokenizer, sampled):
            raise ValueError(
                f"data.apply_chat_template_kwargs = {own} cannot work with {path}: its responses were sampled with "
                f"{sampled}"
            )

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """`input_ids`, `position_ids` and `loss_mask` of a chat, each [T], T its length; with `pad_mode=right` padded
        to `max_length`, and `attention_mask` beside them.

        Raises:
            ValueError: the last message is not the assistant's, or the chat is longer than `max_length` under
                `truncation=error`.
        """
        *prompt, answer = self.messages[item]
        if answer["role"] != "assistant" or not prompt:
            roles = [message["role"] for message in self.messages[item]]
            raise ValueError(f"row {item}: roles {roles} cannot work: needs a prompt, then one assistant message")
        head = prompt_ids(prompt, self.tokenizer, self.apply_chat_template_kwargs)
        response = [*self.tokenizer.encode(answer["content"], add_special_tokens=False), self._end]
        ids = torch.tensor(head + response)
        loss_mask = torch.tensor([0] * len(head) + [1] * len(response))
        return self._fitted(self._cut(ids, item), self._cut(loss_mask, item))

    def _cut(self, row: torch.Tensor, item: int) -> torch.Tensor:
        if len(row) <= self.max_length:
            return row
        if self.truncation == "error":
            raise ValueError(f"row {item}: {len(row)} tokens cannot work: data.max_length is {self.max_length}")
        return row[-self.max_length :] if self.truncation == "left" else row[: self.max_length]

    def _fitted(self, ids: torch.Tensor, loss_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        row: dict[str, Any] = {"input_ids": ids, "position_ids": torch.arange(len(ids)), "loss_mask": loss_mask}
        if self.pad_mode == DatasetPadMode.NO_PADDING:
            return row
        row["attention_mask"] = torch.ones_like(ids)
        missing = self.max_length - len(ids)
        values = {"input_ids": self.tokenizer.pad_token_id or 0}
        return {
            name: torch.nn.functional.pad(tensor, (0, missing), value=values.get(name, 0))
            for name, tensor in row.items()
        }
