"""Who is taught with which solution, and what the teacher is asked."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapo.baselines.opsd.config import OpsdConfig
from tapo.core.prompts import render_prompt, rewritten_query

REASONS = ("no_sibling", "no_solution", "unsupported_query", "too_long")
"""Why a rollout has no teacher."""


@dataclass(frozen=True)
class Rollout:
    """A row of the step, as the teacher needs to know it.

    Attributes:
        key: in TransferQueue, `{uid}_{session}_{index}`.
        messages: the query as it was asked.
        text: the response without what ends it.
        correct: as the run judges it.
        shown: whether siblings may be shown it: correct, not empty, and not cut off.
        fields: the dataset's row.
    """

    key: str
    uid: str
    messages: Sequence[Mapping[str, Any]]
    text: str
    correct: bool
    shown: bool
    fields: Mapping[str, Any]

    @property
    def session(self) -> tuple[str, int]:
        """The query, and which of its sessions it comes from."""
        return self.uid, int(self.key.rsplit("_", 2)[1])


class NoTeacher(ValueError):
    """A rollout that nobody teaches; says one of `REASONS`."""


def solutions(rollouts: Sequence[Rollout], config: OpsdConfig, step: int) -> list[str | None]:
    """What the teacher of each rollout is shown; None where there is nothing.

    A sibling is drawn from seed, step, query and session: verl draws a fresh uid in every run.
    """
    if config.privileged == "solution":
        return [solution_in(rollout.fields, config.solution_key or "") for rollout in rollouts]
    shown: defaultdict[str, list[Rollout]] = defaultdict(list)
    for rollout in sorted(rollouts, key=lambda rollout: rollout.session):
        if rollout.shown:
            shown[rollout.uid].append(rollout)
    drawn = []
    for rollout in rollouts:
        others = [other.text for other in shown[rollout.uid] if other.session != rollout.session]
        rng = random.Random(f"{config.seed}/{step}/{rollout.messages}/{rollout.session[1]}")
        drawn.append(rng.choice(others) if others else None)
    return drawn


def solution_in(fields: Mapping[str, Any], key: str) -> str | None:
    """The text at a dotted key of a dataset's row; None where there is none."""
    value: Any = fields
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value.strip() else None


def privileged_messages(rollout: Rollout, solution: str, template: str) -> list[dict[str, str]]:
    """The chat that the teacher answers: the query's own system messages, then the rendered template.

    Raises:
        NoTeacher: the query is not one text-only user turn.
    """
    try:
        return rewritten_query(
            rollout.messages, lambda query: render_prompt(template, query=query, solution=solution), "a teacher"
        )
    except ValueError as error:
        raise NoTeacher("unsupported_query") from error
