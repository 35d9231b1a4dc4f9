"""Paired differences over shared problems: between two runs, and between two steps of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tapo.evaluation.bootstrap import Estimate, paired_differences
from tapo.evaluation.caveats import Caveats
from tapo.evaluation.ratios import label
from tapo.evaluation.step_report import StepReport


@dataclass(frozen=True)
class Change:
    """Mean accuracy at a later step minus that at an earlier one."""

    steps: tuple[int, int]
    shared: int
    """Problems of both steps."""
    accuracy: Estimate


@dataclass(frozen=True)
class Comparison:
    """Second run minus first over the problems they share."""

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


def change(by_step: Mapping[int, StepReport], steps: tuple[int, int], resampling: Mapping[str, int]) -> Change | None:
    """From the first of the two steps to the second; None if they share no problem.

    Args:
        resampling: `resamples` and `seed` of the interval.
    """
    one, two = by_step[steps[0]], by_step[steps[1]]
    differences, shared = _differences(one, two, ["accuracy"], resampling)
    return Change(steps, shared, differences["accuracy"]) if shared else None


def compare(
    benchmark: str,
    names: tuple[str, str],
    reported: tuple[tuple[int, StepReport], tuple[int, StepReport]],
    resampling: Mapping[str, int],
    caveats: Caveats,
) -> Comparison:
    """The second run's figures minus the first's.

    Args:
        names: of the two runs.
        reported: (step, figures) of each.
        resampling: `resamples` and `seed` of the intervals.

    Raises:
        ValueError: the runs share no problem.
    """
    (first_step, one), (second_step, two) = reported
    where = f"{benchmark}, {names[1]} against {names[0]}"
    if first_step != second_step:
        caveats.add(where, f"steps {second_step} and {first_step} are compared")
    comparable = _comparable(one, two, where, caveats)
    differences, shared = _differences(one, two, comparable, resampling)
    if not shared:
        raise ValueError(f"{where}: got {one.problems} and {two.problems} problems, none shared; needs shared ones")
    if shared < max(one.problems, two.problems):
        alone = f"{two.problems - shared} and {one.problems - shared}"
        caveats.add(where, f"{shared} problems are shared and compared, {alone} are in one alone")
    return Comparison(benchmark, names, (first_step, second_step), shared, differences)


def _differences(
    one: StepReport, two: StepReport, names: Sequence[str], resampling: Mapping[str, int]
) -> tuple[dict[str, Estimate], int]:
    """({figure: second minus first}, shared problems)."""
    index_in_two = {key: index for index, key in enumerate(two.keys)}
    pairs = [(index, index_in_two[key]) for index, key in enumerate(one.keys) if key in index_in_two]
    if not pairs:
        return {}, 0
    in_one, in_two = np.array(pairs).T
    values = paired_differences(one.ratios.select(names, in_one), two.ratios.select(names, in_two), **resampling)
    return dict(zip(names, values, strict=True)), len(pairs)


def _comparable(one: StepReport, two: StepReport, where: str, caveats: Caveats) -> list[str]:
    """Figures that both have and that mean the same in both."""
    names = [name for name in one.ratios.names if name in two.ratios.names]
    reasons = {}
    if one.samples * two.problems != two.samples * one.problems:
        reasons["majority"] = "it depends on the number of samples a problem, and theirs differ"
    if one.length_unit != two.length_unit:
        reasons["length"] = f"one is in {one.length_unit}, the other in {two.length_unit}"
    for name, reason in reasons.items():
        if name in names:
            names.remove(name)
            caveats.add(where, f"{label(name)} not compared: {reason}")
    return names
