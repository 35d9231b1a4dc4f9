"""The rollouts of one query, collected while its sessions settle."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verl.experimental.agent_loop import AgentLoopOutput

from tapo.rollout.group_report import NO_CORRECT_KEY


@dataclass(frozen=True)
class Judge:
    """What a run means by correct and by cut off.

    Attributes:
        reward_threshold: a response is correct iff its correctness is greater.
        correct_key: where correctness stands in the reward's extra info; None: it is the reward.
        response_length: tokens at which a response is cut off.
        end_ids: tokens that end a response.
    """

    reward_threshold: float
    correct_key: str | None
    response_length: int
    end_ids: frozenset[int]

    def said(self, reward: float, info: Mapping[str, Any]) -> Any:
        """What a response's reward, with its extra info, holds of correctness.

        Raises:
            ValueError: there is no `correct_key`; says what is there.
        """
        if self.correct_key is None:
            return reward
        if self.correct_key not in info:
            there = f"the reward's extra info has {', '.join(sorted(info)) or 'no entry'}"
            raise ValueError(f"{NO_CORRECT_KEY} {self.correct_key!r}: {there}")
        return info[self.correct_key]

    def correctness(self, output: AgentLoopOutput) -> float:
        """The number that says whether a scored response is correct.

        Raises:
            ValueError: there is none; says what is there.
        """
        if output.reward_score is None or not math.isfinite(output.reward_score):
            raise ValueError("no_reward")
        value = self.said(output.reward_score, output.extra_fields.get("reward_extra_info") or {})
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isnan(number):
            raise ValueError(f"{self.correct_key} = {value!r}")
        return number

    def is_correct(self, output: AgentLoopOutput) -> bool:
        """Whether a scored response is correct; one that says nothing of it is not."""
        try:
            return self.correctness(output) > self.reward_threshold
        except ValueError:
            return False

    def is_truncated(self, output: AgentLoopOutput) -> bool:
        """Whether a response was cut off at its length."""
        return self.is_cut_off(output.response_ids)

    def is_cut_off(self, ids: Sequence[int]) -> bool:
        """Whether the tokens of a response were cut off at its length."""
        return len(ids) >= self.response_length and not self.ends(ids)

    def ends(self, ids: Sequence[int]) -> bool:
        """Whether tokens end as the policy ends a turn."""
        return len(ids) > 0 and ids[-1] in self.end_ids


@dataclass(frozen=True)
class Rollout:
    """One settled session: verl's scored output and the dataset fields it was run with."""

    session_id: int
    output: AgentLoopOutput
    fields: Mapping[str, Any]
    correctness: float
    truncated: bool = False


@dataclass
class Group:
    """One query's group G_orig, open until `size` sessions have settled."""

    uid: str
    size: int
    sampling_params: Mapping[str, Any]
    judge: Judge
    rollouts: list[Rollout] = field(default_factory=list)
    """The sessions that constructions may come from."""
    left_alone: Counter[str] = field(default_factory=Counter)
    """Sessions that construction does not cover, by reason; the group's others are not concerned."""
    reflects_rightly: bool = False
    """Whether a rollout that reflects by itself is correct; set by who looks at their texts."""
    first_session: int | None = None
    """A session that has put an output, of whatever kind: its row carries the group's report."""
    _settled: int = 0

    def add(self, session_id: int, output: AgentLoopOutput | list[AgentLoopOutput], fields: Mapping[str, Any]) -> None:
        """Keep a session's output, or count why it is left alone."""
        outputs = output if isinstance(output, list) else [output]
        if outputs and (self.first_session is None or session_id < self.first_session):
            self.first_session = session_id
        if reason := _unsupported(outputs):
            self.left_alone[reason] += 1
            return
        try:
            correctness = self.judge.correctness(outputs[0])
        except ValueError as error:
            self.left_alone[str(error)] += 1
            return
        truncated = self.judge.is_truncated(outputs[0])
        self.rollouts.append(Rollout(session_id, outputs[0], dict(fields), correctness, truncated))

    def settle(self) -> bool:
        """Count one session as over, failed or not; True for the last one of the group."""
        self._settled += 1
        assert self._settled <= self.size, f"{self._settled} sessions settled in a group of {self.size}"
        return self._settled == self.size


def _unsupported(outputs: list[AgentLoopOutput]) -> str | None:
    if len(outputs) != 1:
        # Its later outputs answer prompts of their own, which a constructed response could not be trained on.
        return "multi_output"
    [output] = outputs
    if not all(output.response_mask):
        return "multi_turn"
    return "multi_modal" if output.multi_modal_data else None
