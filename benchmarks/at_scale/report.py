"""What the settings cost beside GRPO, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.at_scale.options import Scale
from benchmarks.at_scale.run import Step

BASELINE = "grpo"
SHARE, PEAK_MIB = 0.02, 4096
"""The aims: most of a step that TAPO's own Python may take, and the most memory of a process."""

QUANTITIES = (
    "simulated seconds of a step",
    "TAPO's own Python, CPU seconds",
    "  of the simulated step",
    "TransferQueue and rewards, CPU s",
    "largest worker, MiB",
    "trainer, MiB",
    "decoded, million tokens",
    "  of constructions",
    "prefilled, million tokens",
    "  found in the cache beside",
    "constructions trained / attempted",
    "  decoded tokens a trained one",
    "simulated seconds behind rollouts",
    "given up by deadline or time-out",
)


def table(steps: Mapping[str, Sequence[Step]], scale: Scale) -> Table:
    """A column a setting, of its last step; what Python takes is a difference from GRPO's, but in GRPO's column."""
    title = f"{scale.queries} queries x {scale.n}, up to {scale.response_length} tokens, {scale.devices} devices"
    result = Table("", *(name.replace("+", "\n+ ") for name in steps), title=title, caption=caption())
    grpo = steps[BASELINE][-1]
    columns = [cells(of[-1], None if name == BASELINE else grpo) for name, of in steps.items()]
    for quantity, *row in zip(QUANTITIES, *columns, strict=True):
        result.add_row(quantity, *row)
    return result


def caption() -> str:
    """The aims."""
    return f"aims: own Python below {SHARE:.0%} of the step, no process above {PEAK_MIB / 1024:.0f} GiB"


def cells(step: Step, grpo: Step | None) -> list[str]:
    """A setting's column; without a GRPO step to compare with, GRPO's own."""
    engine, decoded = step.engine, step.engine["decoded"]
    constructed = decoded.get("constructions", 0)
    own, beside = step.own_s - (grpo.own_s if grpo else 0), step.beside_s - (grpo.beside_s if grpo else 0)
    sign = "+" if grpo else ""
    return [
        f"{step.simulated_s:,.0f}",
        f"{own:{sign}.1f}",
        f"{own / step.simulated_s:{sign}.1%}",
        f"{beside:{sign}.1f}",
        f"{step.peak_mib['workers']:,.0f}",
        f"{step.peak_mib['trainer']:,.0f}",
        f"{sum(decoded.values()) / 1e6:.2f}",
        f"{constructed / 1e6:.2f}",
        f"{engine['prefilled'] / 1e6:.2f}",
        f"{engine['cached'] / 1e6:.2f}",
        *(_constructions(step, constructed) if grpo else ["-"] * 4),
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
