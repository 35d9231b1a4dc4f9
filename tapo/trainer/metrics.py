"""The metrics `tapo/...` of one step."""

import math
from collections.abc import Collection

import torch

from tapo.core.funnel import FUNNEL, REASONS
from tapo.core.objections import ERROR, FAITHFUL_SHARE, NO_OBJECTION, OBJECTED
from tapo.rollout.group_report import GroupReport
from tapo.trainer.ref_advantage import RefRow


def step_metrics(
    report: GroupReport, rows: Collection[RefRow], *, rollout_tokens: int, checks: bool = False, dumps: bool = False
) -> dict[str, float]:
    """Every metric that TAPO adds to a step.

    The set of keys is the same at each step, but for averages over rows, which need one, and the labels of a check.

    Args:
        report: the sum over the step's groups.
        rows: its constructed rows.
        rollout_tokens: response tokens of its rollouts.
        checks: whether the run has a check of the constructed texts.
        dumps: whether it writes records of them.
    """
    metrics: dict[str, float] = {
        "tapo/groups/total": report.total,
        "tapo/groups/eligible": report.eligible,
        "tapo/groups/unsupported": report.unsupported,
        "tapo/tokens/construct_generated": report.generated_tokens,
        "tapo/tokens/construct_prompt": report.prompt_tokens,
        "tapo/tokens/construct_placed": report.placed_tokens,
        "tapo/timing_s/construct": report.construct_s / max(report.eligible, 1),
    }
    if dumps:
        metrics["tapo/dump/lost"] = report.dump_lost
    metrics |= {f"tapo/construct/{stage}": report.funnel[stage] for stage in FUNNEL}
    metrics |= {f"tapo/construct/rejected/{reason}": report.rejected[reason] for reason in REASONS}
    metrics["tapo/construct/without_reflection"] = report.without_reflection
    metrics["tapo/construct/unclosed"] = report.unclosed
    metrics |= {f"tapo/construct/anchor/{found}": number for found, number in report.anchors.items()}
    if report.own:
        # What the reflections are worth to the policy that is trained.
        metrics["tapo/construct/own_success"] = report.own_correct / report.own
    if report.funnel["trained"]:
        metrics["tapo/tokens/construct_generated_per_row"] = report.generated_tokens / report.funnel["trained"]
    if spliced := report.funnel["spliced"]:
        metrics["tapo/construct/prefix_fraction/mean"] = report.prefix_fraction_sum / spliced
        metrics["tapo/construct/repeated_line_share"] = report.repeated_lines / spliced
        metrics["tapo/construct/edit_size/mean"] = report.edit_size_sum / spliced
    if checks:
        metrics |= check_metrics(report)
    trained = sum(len(row.weights_T) for row in rows)
    metrics["tapo/tokens/construct_trained"] = trained
    metrics["tapo/tokens/construct_over_rollout"] = trained / max(rollout_tokens, 1)
    # Groups whose advantages are all zero: construction that teaches nothing.
    metrics["tapo/ref/dead_groups"] = len({row.uid for row in rows} - {row.uid for row in rows if row.advantage != 0})
    return metrics | rollout_metrics(report) | (ref_metrics(rows) if rows else {})


def check_metrics(report: GroupReport) -> dict[str, float]:
    """How many spliced constructions the check says what of, how many it objects to, and the share of the correct ones
    to which it does not; those that it failed on are in neither part of the share, which is NaN where none is left."""
    counts = {ERROR: 0} | {said: n for said, n in report.checks.items() if said != NO_OBJECTION}
    judged = sum(n for said, n in report.correct_checks.items() if said != ERROR)
    figures = {
        **counts,
        OBJECTED: sum(n for said, n in counts.items() if said != ERROR),
        FAITHFUL_SHARE: report.correct_checks[NO_OBJECTION] / judged if judged else math.nan,
    }
    return {f"tapo/construct/check/{name}": value for name, value in figures.items()}


def rollout_metrics(report: GroupReport) -> dict[str, float]:
    """Averages over the rollouts that construction covers; of needless reflection over those whose reward tells."""
    shares = {
        "reflection_rate": (report.reflecting, report.looked_at),
        "needless_reflection": (report.needless, report.judged_needless),
    }
    return {f"tapo/rollouts/{name}": part / of for name, (part, of) in shares.items() if of}


def ref_metrics(rows: Collection[RefRow]) -> dict[str, float]:
    """Averages over the step's constructed rows and their tokens; weights as they were trained with."""
    metrics = {
        "tapo/ref/reward/mean": torch.tensor([row.reward for row in rows]).mean(),
        "tapo/ref/response_length/mean": torch.tensor([float(len(row.weights_T)) for row in rows]).mean(),
        "tapo/ref/log_prob/mean": torch.cat([row.log_probs_T for row in rows]).mean(),
        "tapo/ref/entropy/mean": torch.cat([row.entropy_T for row in rows]).mean(),
    }
    for segment in ("", "prefix", "correction", "reflection"):
        weights = torch.cat([row.weights_T[span(row, segment)] for row in rows])
        names = ("mean", "min", "max") if len(weights) else ()
        metrics |= {"/".join(filter(None, ("tapo/ots/weight", segment, n))): getattr(weights, n)() for n in names}
    opening = [row for row in rows if row.reflection_length]
    if opening:
        # What is to be learned where the policy seldom reflects: an average over all new text hides it.
        metrics["tapo/ots/weight/reflection_first/mean"] = first_mean(opening, "weights_T")
        metrics["tapo/ref/log_prob/reflection_first/mean"] = first_mean(opening, "log_probs_T")
    answers = [row.weights_T[row.answer_begin :][: row.answer_length] for row in rows if row.answer_length]
    if answers:
        metrics["tapo/ots/weight/final_answer/mean"] = torch.cat(answers).mean()
    return {key: float(value) for key, value in metrics.items()}


def span(row: RefRow, segment: str) -> slice:
    """The tokens of a segment: all, the kept prefix, all text behind it (`correction`), or in that a recognised
    reflection."""
    behind = row.prefix_length + row.reflection_length
    return {
        "": slice(None),
        "prefix": slice(row.prefix_length),
        "correction": slice(row.prefix_length, None),
        "reflection": slice(row.prefix_length, behind),
    }[segment]


def first_mean(rows: Collection[RefRow], name: str) -> torch.Tensor:
    """Mean of a number of the first new token, over rows."""
    return torch.stack([getattr(row, name)[row.prefix_length] for row in rows]).mean()
