"""The metrics `tapo/...` of one step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tapo.core.funnel import FUNNEL, REASONS
from tapo.rollout.group_report import GroupReport
from tapo.trainer.ref_advantage import RefAdvantages, RefRows


@dataclass(frozen=True)
class RefStep:
    """What one sampled batch trained on constructed rows."""

    rows: RefRows
    advantages: RefAdvantages


def row_values(steps: Sequence[RefStep]) -> Iterator[tuple[float, list[float]]]:
    """(advantage before token weights, weight of each response token) of every constructed row, in batch order."""
    for step in steps:
        advantages = step.advantages
        for advantage, weights, mask in zip(
            advantages.advantage_N.tolist(), advantages.weights_NT, step.rows.mask_NT, strict=True
        ):
            yield advantage, weights[mask.bool()].tolist()


def step_metrics(report: GroupReport, steps: list[RefStep]) -> dict[str, float]:
    """Every metric that TAPO adds to a step.

    The set of keys is the same at each step, but for averages over constructed rows, which need one.

    Args:
        report: the sum over the step's groups.
        steps: one per sampled batch that held constructed rows.
    """
    metrics: dict[str, float] = {
        "tapo/groups/total": report.total,
        "tapo/groups/eligible": report.eligible,
        "tapo/groups/unsupported": report.unsupported,
        "tapo/tokens/construct_generated": report.generated_tokens,
        "tapo/timing_s/construct": report.construct_s / max(report.eligible, 1),
    }
    metrics |= {f"tapo/construct/{stage}": report.funnel[stage] for stage in FUNNEL}
    metrics |= {f"tapo/construct/rejected/{reason}": report.rejected[reason] for reason in REASONS}
    metrics["tapo/construct/without_reflection"] = report.without_reflection
    if report.funnel["spliced"]:
        metrics["tapo/construct/prefix_fraction/mean"] = report.prefix_fraction_sum / report.funnel["spliced"]
    metrics["tapo/tokens/construct_trained"] = sum(int(step.rows.mask_NT.sum()) for step in steps)
    metrics["tapo/ref/dead_groups"] = sum(dead_groups(step) for step in steps)
    if steps:
        metrics |= ref_metrics(steps)
    return metrics


def dead_groups(step: RefStep) -> int:
    """Groups of constructed rows whose advantages are all zero: construction that teaches nothing."""
    alive = {uid for uid, a in zip(step.rows.uids, step.advantages.advantage_N.tolist(), strict=True) if a != 0}
    return len(set(step.rows.uids) - alive)


def ref_metrics(steps: list[RefStep]) -> dict[str, float]:
    """Averages over the step's constructed rows and their tokens."""
    mask = _tokens([step.rows.mask_NT for step in steps]).bool()
    prefix = _tokens(
        [torch.arange(s.rows.mask_NT.shape[1]).unsqueeze(0) < s.rows.prefix_lengths_N.unsqueeze(1) for s in steps]
    )[mask]
    weights = _tokens([step.advantages.weights_NT for step in steps])[mask]
    metrics = {
        "tapo/ref/reward/mean": torch.cat([step.rows.rewards_N for step in steps]).mean(),
        "tapo/ref/response_length/mean": torch.cat([step.rows.mask_NT.sum(1) for step in steps]).float().mean(),
        "tapo/ref/log_prob/mean": _tokens([step.rows.log_probs_NT for step in steps])[mask].mean(),
        "tapo/ref/entropy/mean": _tokens([step.rows.entropy_NT for step in steps])[mask].mean(),
        "tapo/ots/weight/mean": weights.mean(),
        "tapo/ots/weight/min": weights.min(),
        "tapo/ots/weight/max": weights.max(),
    }
    for segment, chosen in (("prefix", prefix), ("correction", ~prefix)):
        if chosen.any():
            part = weights[chosen]
            metrics |= {f"tapo/ots/weight/{segment}/{name}": getattr(part, name)() for name in ("mean", "min", "max")}
    return {key: float(value) for key, value in metrics.items()}


def _tokens(tensors_NT: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors_NT])
