"""A construction of a group in a run, and the row that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from verl.experimental.agent_loop import AgentLoopOutput

from tapo.core.attempt import Attempt
from tapo.core.form import PAPER_FORM, Form
from tapo.core.groups import ref_group
from tapo.rollout.group import Group, Rollout

VERSIONS = {"global_steps": max, "min_global_steps": min, "max_global_steps": max}
"""What verl says of the weights that wrote a row, and what stands for several requests."""


@dataclass
class Construction:
    """One candidate of a group: its attempt, and the row that comes of it."""

    group: Group
    session_id: int
    """Of the row, behind those of the group's rollouts."""
    wrong: Rollout
    correct: Rollout
    attempt: Attempt
    form: Form = PAPER_FORM
    output: AgentLoopOutput | None = None
    versions: dict[str, int] = field(default_factory=dict)
    """Of the weights that wrote it: verl's `global_steps`, and the oldest and newest of its requests."""

    def note(self, answer_fields: Mapping[str, Any] | None) -> None:
        """Take in what the engine says beside an answer's tokens."""
        for key, choose in VERSIONS.items():
            if (version := (answer_fields or {}).get(key)) is not None:
                self.versions[key] = choose(version, self.versions.get(key, version))

    def again(self, number: int) -> "Construction":
        """Another row of the same opening."""
        attempt, versions = self.attempt.again(), dict(self.versions)
        return replace(self, session_id=self.session_id + number, attempt=attempt, versions=versions)

    @property
    def key(self) -> str:
        """Of the row, as verl makes keys."""
        return f"{ref_group(self.group.uid)}_{self.session_id}_0"


def constructed_output(source: AgentLoopOutput, ids: list[int], versions: Mapping[str, int]) -> AgentLoopOutput:
    """The spliced trajectory as a response to the plain query, with exactly the fields of the rollout it grew from.

    No behaviour policy sampled it from the query, so its rollout log-probs, where the run keeps them, are zeros that
    nothing reads.
    """
    extra_fields = {key: value for key, value in source.extra_fields.items() if key != "reward_extra_info"}
    extra_fields |= {key: version for key, version in versions.items() if key in extra_fields}
    return source.model_copy(
        update={
            "response_ids": ids,
            "response_mask": [1] * len(ids),
            "response_logprobs": None if source.response_logprobs is None else [0.0] * len(ids),
            "reward_score": None,
            "metrics": source.metrics.model_copy(),
            "extra_fields": extra_fields,
        }
    )
