"""A row of a verl dataset as a query: what is asked, and what its reward is given."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tapo.data.options import ColumnOptions
from tapo.data.text import BOXED_INSTRUCTION, canonical_text, question_of

NO_MESSAGES = "prompt is no list of chat messages"
NO_USER = "prompt without a user's text"
NO_TEXT = "message content is no text"
MORE_THAN_TEXT = "messages with more than role and content"
NO_SOURCE = "no data source"
NO_REWARD_MODEL = "no reward_model.ground_truth"
MEDIA = "images, videos or audio"
AGENT = "agent_name is not single_turn_agent"
NO_JSON = "reward_model or extra_info that JSON cannot hold"


class UnusableRow(ValueError):
    """A row that nothing can be sampled for, or made a query of; the message is the reason, one of a few."""


@dataclass(frozen=True)
class Query:
    """One query of a verl dataset."""

    index: str
    """Stable id: `extra_info.index` where it is text, `SOURCE/NUMBER` where it is a number, and `stable_index` where
    there is none."""
    data_source: str
    prompt: list[dict[str, str]]
    """Chat messages: `role` and `content`."""
    ground_truth: Any
    """Of any type that JSON can hold, as the reward is given it."""
    extra_info: Mapping[str, Any] = field(default_factory=dict)
    """As the reward is given it."""
    question: str = ""
    """The user's text without the instruction that the prompts of its file share."""

    @property
    def truth_text(self) -> str:
        """The ground truth where it is text, and as JSON where it is not."""
        truth = self.ground_truth
        return truth if isinstance(truth, str) else json.dumps(truth, ensure_ascii=False)

    @property
    def reward_inputs(self) -> str:
        """Ground truth and extra info as JSON."""
        return json.dumps({"ground_truth": self.ground_truth, "extra_info": self.extra_info}, ensure_ascii=False)

    @property
    def has_truth(self) -> bool:
        """Whether there is an answer to compare with."""
        return self.ground_truth not in (None, "")

    @property
    def scoring(self) -> dict[str, Any]:
        """Arguments of `Scorer.judge` for a response to this query, all but the response."""
        keys = ("data_source", "ground_truth", "index", "extra_info")
        return {key: getattr(self, key) for key in keys}

    @property
    def content(self) -> bytes:
        """A digest of all that rollouts and their scores depend on."""
        text = json.dumps([self.data_source, self.prompt, self.reward_inputs], ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def stable_index(data_source: str, question: str) -> str:
    """`SOURCE/HASH` of the normalised question: the same wherever the row stands and however it is typeset."""
    return f"{data_source}/{hashlib.sha256(canonical_text(question).encode()).hexdigest()[:16]}"


def query_of(row: Mapping[str, Any], columns: ColumnOptions, instruction: str = BOXED_INSTRUCTION) -> Query:
    """A row, as plain Python values, as a query; `UnusableRow` if it is none."""
    prompt = _messages(row[columns.prompt_key])
    source, reward_model = row[columns.reward_fn_key], row["reward_model"]
    if source is None:
        raise UnusableRow(NO_SOURCE)
    if not isinstance(reward_model, Mapping) or "ground_truth" not in reward_model:
        raise UnusableRow(NO_REWARD_MODEL)
    try:
        question = question_of(prompt, instruction)
    except ValueError as error:
        raise UnusableRow(NO_USER) from error
    extra_info = row.get("extra_info") or {}
    index = extra_info.get("index")
    if index is None or index == "":
        index = stable_index(str(source), question)
    elif not isinstance(index, str):
        index = f"{source}/{index}"
    return Query(index, str(source), prompt, reward_model["ground_truth"], extra_info, question)


def _messages(prompt: Any) -> list[dict[str, str]]:
    if not isinstance(prompt, list) or not prompt:
        raise UnusableRow(NO_MESSAGES)
    for message in prompt:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise UnusableRow(NO_MESSAGES)
        if not isinstance(message.get("content"), str):
            raise UnusableRow(NO_TEXT)
        # A struct column gives every message every field: an empty one is none.
        if any(value not in (None, "", [], {}) for key, value in message.items() if key not in ("role", "content")):
            raise UnusableRow(MORE_THAN_TEXT)
    return [{"role": message["role"], "content": message["content"]} for message in prompt]
