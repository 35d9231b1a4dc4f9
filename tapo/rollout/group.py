"""The rollouts of one query, collected while its sessions settle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verl.experimental.agent_loop import AgentLoopOutput


@dataclass(frozen=True)
class Rollout:
    """One settled session: verl's scored output and the dataset fields it was run with."""

    session_id: int
    output: AgentLoopOutput
    fields: Mapping[str, Any]


@dataclass
class Group:
    """One query's group G_orig, open until `size` sessions have settled."""

    uid: str
    size: int
    sampling_params: Mapping[str, Any]
    rollouts: list[Rollout] = field(default_factory=list)
    unsupported: str | None = None
    """Why nothing can be built from this group, if so."""
    first_session: int | None = None
    """A session that has put an output, of whatever kind: its row carries the group's report."""
    _settled: int = 0

    def add(self, session_id: int, output: AgentLoopOutput | list[AgentLoopOutput], fields: Mapping[str, Any]) -> None:
        """Keep a session's output; a kind that construction does not cover marks the whole group as left alone."""
        outputs = output if isinstance(output, list) else [output]
        if outputs and (self.first_session is None or session_id < self.first_session):
            self.first_session = session_id
        if len(outputs) != 1:
            self.unsupported = "multi_output"
        elif not all(outputs[0].response_mask):
            self.unsupported = "multi_turn"
        elif outputs[0].multi_modal_data:
            self.unsupported = "multi_modal"
        elif outputs[0].reward_score is None or math.isnan(outputs[0].reward_score):
            self.unsupported = "no_reward"
        else:
            self.rollouts.append(Rollout(session_id, outputs[0], dict(fields)))

    def settle(self) -> bool:
        """Count one session as over, failed or not; True for the last one of the group."""
        self._settled += 1
        assert self._settled <= self.size, f"{self._settled} sessions settled in a group of {self.size}"
        return self._settled == self.size
