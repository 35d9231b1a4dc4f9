"""The metrics `tapo/...` of one step."""

from collections.abc import Collection

import torch

from tapo.core.funnel import FUNNEL, REASONS
from tapo.rollout.group_report import GroupReport
from tapo.trainer.ref_advantage import RefRow


def step_metrics(report: GroupReport, rows: Collection[RefRow]) -> dict[str, float]:
    """Every metric that TAPO adds to a step.

    The set of keys is the same at each step, but for averages over constructed rows, which need one.

    Args:
        report: the sum over the step's groups.
        rows: its constructed rows.
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
    metrics["tapo/tokens/construct_trained"] = sum(len(row.weights_T) for row in rows)
    # Groups whose advantages are all zero: construction that teaches nothing.
    metrics["tapo/ref/dead_groups"] = len({row.uid for row in rows} - {row.uid for row in rows if row.advantage != 0})
    return metrics | (ref_metrics(rows) if rows else {})


def ref_metrics(rows: Collection[RefRow]) -> dict[str, float]:
    """Averages over the step's constructed rows and their tokens."""
    weights = torch.cat([row.weights_T for row in rows])
    in_prefix = torch.cat([torch.arange(len(row.weights_T)) < row.prefix_length for row in rows])
    metrics = {
        "tapo/ref/reward/mean": torch.tensor([row.reward for row in rows]).mean(),
        "tapo/ref/response_length/mean": torch.tensor([float(len(row.weights_T)) for row in rows]).mean(),
        "tapo/ref/log_prob/mean": torch.cat([row.log_probs_T for row in rows]).mean(),
        "tapo/ref/entropy/mean": torch.cat([row.entropy_T for row in rows]).mean(),
    }
    for segment, part in (("", weights), ("prefix/", weights[in_prefix]), ("correction/", weights[~in_prefix])):
        if len(part):
            metrics |= {f"tapo/ots/weight/{segment}{name}": getattr(part, name)() for name in ("mean", "min", "max")}
    return {key: float(value) for key, value in metrics.items()}
