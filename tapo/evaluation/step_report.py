"""The figures of one benchmark of one run at one step."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tapo.evaluation.bootstrap import Estimate, estimates
from tapo.evaluation.dumps import Dump
from tapo.evaluation.ratios import Ratios, ratios_of
from tapo.evaluation.samples import Samples

FEW_PROBLEMS = 10
"""Below this percentile intervals are known to be too narrow, and the report says so."""


@dataclass(frozen=True)
class StepReport:
    """Figures with their intervals, and where they come from."""

    problems: int
    samples: int
    length_unit: str
    figures: dict[str, Estimate]
    reflection_counts: dict[str, dict[str, int]]
    """Responses by reflection and correctness."""
    source: dict[str, Any]
    """`file`, `sha256`, and `fields`: which field each figure was read from."""
    keys: tuple[bytes, ...] = field(repr=False)
    """One digest a problem."""
    ratios: Ratios = field(repr=False)

    def describe(self) -> dict[str, Any]:
        """As JSON holds it, without its source."""
        own = {name: getattr(self, name) for name in ("problems", "samples", "length_unit")}
        figures = {name: asdict(value) for name, value in self.figures.items()}
        return own | {"figures": figures, "reflection_counts": self.reflection_counts}


def step_report(
    samples: Samples, dump: Dump, response_limit: int | None, resampling: Mapping[str, int]
) -> tuple[StepReport, list[str]]:
    """All figures of the samples, and what must be said about them.

    Args:
        samples: one benchmark of the dump.
        response_limit: tokens at which a response was cut off, where that is known.
        resampling: `resamples` and `seed` of the intervals.
    """
    samples, notes = _with_truncation(samples, response_limit)
    ratios, unknown = ratios_of(samples)
    notes += unknown
    if len(samples.keys) < FEW_PROBLEMS:
        notes.append(f"intervals from {len(samples.keys)} problems are too narrow to rely on")
    values = estimates(ratios.numerators_PF, ratios.denominators_PF, **resampling)
    report = StepReport(
        problems=len(samples.keys),
        samples=len(samples.problem),
        length_unit=samples.length_unit,
        figures=dict(zip(ratios.names, values, strict=True)),
        reflection_counts=ratios.reflection_counts(),
        source={"file": str(dump.path), "sha256": dump.sha256, "fields": dump.fields},
        keys=samples.keys,
        ratios=ratios,
    )
    return report, notes


def _with_truncation(samples: Samples, limit: int | None) -> tuple[Samples, list[str]]:
    """Where the dump does not tell, read truncation off token counts, which can only miss some."""
    if samples.truncated is not None or limit is None or samples.length_unit != "tokens":
        return samples, []
    note = f"truncated = at least {limit} tokens after re-encoding the text; may miss some"
    return replace(samples, truncated=samples.length >= limit), [note]
