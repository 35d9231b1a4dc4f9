"""Paired differences over shared problems: between two runs, and between two steps of one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tapo.evaluation.bootstrap import Estimate, paired_differences
from tapo.evaluation.step_report import StepReport


class Reported(NamedTuple):
    """One side of a comparison."""

    run: str
    step: int
    report: StepReport


@dataclass(frozen=True)
class Comparison:
    """Second minus first over the problems they share."""

    benchmark: str
    runs: tuple[str, str]
    steps: tuple[int, int]
    shared: int
    differences: dict[str, Estimate]

    @property
    def sentence(self) -> str:
        """Which run is ahead in mean accuracy, or that the difference is within noise."""
        first, second = self.runs
        accuracy = self.differences["accuracy"]
        assert accuracy.value is not None
        told = f"{self.benchmark}: {second} against {first}, mean accuracy {accuracy.value * 100:+.1f} points"
        over = f"over {self.shared} shared problems"
        if accuracy.low is None or accuracy.high is None:
            return f"{told} {over}: no interval from so few, so nothing follows."
        told += f" [{accuracy.low * 100:+.1f}, {accuracy.high * 100:+.1f}] {over}"
        if not accuracy.beyond_noise:
            return f"{told}: within noise."
        return f"{told}: {second if accuracy.value > 0 else first} is ahead."

    def describe(self) -> dict[str, Any]:
        """As JSON holds it."""
        differences = {
            name: asdict(value) | {"within_noise": not value.beyond_noise} for name, value in self.differences.items()
        }
        return {"steps": list(self.steps), "shared_problems": self.shared, "second_minus_first": differences}


def compare(
    benchmark: str, first: Reported, second: Reported, figures: Sequence[str], resampling: Mapping[str, int]
) -> Comparison | None:
    """The differences of some figures, all of which both sides have; None if they share no problem.

    Args:
        resampling: `resamples` and `seed` of the intervals.
    """
    one, two = first.report.ratios, second.report.ratios
    shared = [problem for problem in one.numerators_PF.index if problem in two.numerators_PF.index]
    if not shared:
        return None
    values = paired_differences(one.select(figures, shared), two.select(figures, shared), **resampling)
    differences = dict(zip(figures, values, strict=True))
    return Comparison(benchmark, (first.run, second.run), (first.step, second.step), len(shared), differences)


def incomparable(one: StepReport, two: StepReport) -> dict[str, str]:
    """{figure: why} of those that do not mean the same in both."""
    reasons = {}
    if one.samples * two.problems != two.samples * one.problems:
        reasons["majority"] = "it depends on the number of samples a problem, and theirs differ"
    if one.length_unit != two.length_unit:
        reasons["length"] = f"one is in {one.length_unit}, the other in {two.length_unit}"
    return {name: why for name, why in reasons.items() if name in one.figures and name in two.figures}
