"""What the settings cost beside GRPO, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.at_scale.options import Scale
from benchmarks.at_scale.run import Step

BASELINE = "grpo"
SHARE, PEAK_MIB = 0.02, 4096
"""The aims: most of a step that TAPO's own Python may take, and the most memory of a process."""

COLUMNS = (
    "",
    "step, simulated s",
    "own Python, CPU s",
    "of the step",
    "TransferQueue, rewards, CPU s",
    "peak MiB: worker",
    "trainer",
    "decoded M",
    "of constructions",
    "prefilled M (cached)",
    "constructions trained / attempted",
    "decoded per trained one",
    "tail, simulated s",
    "given up",
)


def table(steps: Mapping[str, Sequence[Step]], scale: Scale) -> Table:
    """A row a setting, of its last step; what is own or TAPO's is a difference from GRPO's."""
    title = f"{scale.queries} queries x {scale.n}, up to {scale.response_length} tokens, {scale.devices} devices"
    result = Table(*COLUMNS, title=title, caption=caption())
    grpo = steps[BASELINE][-1]
    for name, of in steps.items():
        result.add_row(name, *cells(of[-1], grpo, is_baseline=name == BASELINE))
    return result


def caption() -> str:
    """The aims."""
    return f"aims: own Python below {SHARE:.0%} of the step, no process above {PEAK_MIB / 1024:.0f} GiB"


def cells(step: Step, grpo: Step, *, is_baseline: bool) -> list[str]:
    """A setting's row behind its name."""
    engine, decoded = step.engine, step.engine["decoded"]
    constructed = decoded.get("constructions", 0)
    own, beside = step.own_s - grpo.own_s, step.beside_s - grpo.beside_s
    mark = "" if is_baseline else "+"
    costs = [step.own_s, step.own_s / step.simulated_s, step.beside_s] if is_baseline else []
    own, share, beside = costs or [own, own / step.simulated_s, beside]
    return [
        f"{step.simulated_s:,.0f}",
        f"{mark}{own:.1f}",
        f"{mark}{share:.1%}",
        f"{mark}{beside:.1f}",
        f"{step.peak_mib['workers']:,.0f}",
        f"{step.peak_mib['trainer']:,.0f}",
        f"{sum(decoded.values()) / 1e6:.2f}",
        f"{constructed / 1e6:.2f}",
        f"{engine['prefilled'] / 1e6:.2f} ({engine['cached'] / 1e6:.2f})",
        *(["-"] * 4 if is_baseline else _constructions(step, constructed)),
    ]


def _constructions(step: Step, decoded: int) -> list[str]:
    metrics: Mapping[str, Any] = step.metrics
    trained, attempted = (int(metrics[f"tapo/construct/{stage}"]) for stage in ("trained", "attempted"))
    given_up = {reason: int(metrics.get(f"tapo/construct/rejected/{reason}", 0)) for reason in ("deadline", "timeout")}
    return [
        f"{trained} / {attempted}",
        f"{decoded / trained:,.0f}" if trained else "-",
        "-" if step.tail_s is None else f"{step.tail_s:.0f}",
        str(sum(given_up.values())),
    ]
