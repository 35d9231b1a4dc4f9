"""The metrics `opsd/...` of one step."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from tapo.baselines.opsd.privileged import REASONS


@dataclass(frozen=True)
class TaughtRow:
    """A rollout with a teacher, as the update saw it.

    Attributes:
        correct: as the run judges it.
        log_ratio_T: log pi(y_t | query, solution) - log pi(y_t | query) at the old policy, over response tokens.
        teacher_T: the first of the two.
        teacher_tokens: of the teacher's prompt and the response.
    """

    uid: str
    correct: bool
    log_ratio_T: torch.Tensor
    teacher_T: torch.Tensor
    teacher_tokens: int


@dataclass
class Lesson:
    """What is known of a step's teaching."""

    groups: int = 0
    rows: list[TaughtRow] = field(default_factory=list)
    without: Counter[str] = field(default_factory=Counter)
    """Rollouts without a teacher, by reason."""
    seconds: float = 0.0
    """Spent on the teacher's forward pass."""


def step_metrics(lesson: Lesson, clip: float | None) -> dict[str, float]:
    """Every metric that OPSD adds to a step; averages over taught tokens need one.

    Args:
        clip: bound of the log-ratio; None where it has none.
    """
    metrics: dict[str, float] = {
        "opsd/groups/total": lesson.groups,
        "opsd/groups/taught": len({row.uid for row in lesson.rows}),
        "opsd/rows/taught": len(lesson.rows),
        "opsd/tokens/teacher": sum(row.teacher_tokens for row in lesson.rows),
        "opsd/timing_s/teacher": lesson.seconds,
    }
    metrics |= {f"opsd/rows/without_teacher/{reason}": lesson.without[reason] for reason in REASONS}
    for kind, correct in (("correct", True), ("wrong", False)):
        metrics |= _average(f"opsd/log_ratio/{kind}/mean", [r.log_ratio_T for r in lesson.rows if r.correct is correct])
    metrics |= _average("opsd/teacher/log_prob/mean", [row.teacher_T for row in lesson.rows])
    if ratios := [row.log_ratio_T for row in lesson.rows]:
        ratio = torch.cat(ratios)
        metrics |= {f"opsd/log_ratio/{name}": float(getattr(ratio, name)()) for name in ("mean", "std", "min", "max")}
        metrics["opsd/log_ratio/abs/mean"] = float(ratio.abs().mean())
        metrics["opsd/log_ratio/clipped"] = float((ratio.abs() > clip).float().mean()) if clip else 0.0
    return metrics


def _average(name: str, parts: Sequence[torch.Tensor]) -> dict[str, float]:
    return {name: float(torch.cat(list(parts)).mean())} if parts else {}
