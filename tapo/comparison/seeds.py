"""Figures over several seeds, with intervals over problems and seeds.

Problems are drawn with replacement, the same ones for every seed. Seeds are few: of three, draws with replacement span
hardly more than the three themselves, and cover the mean in three cases of four where seeds are what varies. Their mean
is drawn from Student's t around it instead, with the spread that they have. What sampling alone adds is in both draws,
so that intervals are rather too wide than too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tapo.evaluation.bootstrap import Estimate, drawn_ratios, estimate_of, ratios
from tapo.evaluation.step_report import Ratios


@dataclass(frozen=True)
class OverSeeds:
    """A figure over all seeds, and of each."""

    estimate: Estimate
    by_seed: dict[int, float | None]
    """None where a seed has no such response."""

    @property
    def ahead(self) -> int:
        """Of a difference: seeds in which it is positive."""
        return sum(value is not None and value > 0 for value in self.by_seed.values())


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn; equal ones draw the same problems."""

    resamples: int
    seed: int = 0


def estimates_over_seeds(
    by_seed: dict[int, Ratios], figures: Sequence[str], resampling: Resampling
) -> dict[str, OverSeeds]:
    """Figures pooled over problems and seeds.

    Args:
        by_seed: figures by problem; seeds may have different problems.
        figures: names that all seeds have.
    """
    found = _estimates(_Sums(by_seed, figures), None, figures, resampling)
    return {
        name: replace(one, estimate=_bounded(one.estimate, math.inf if name == "length" else 1.0))
        for name, one in found.items()
    }


def _bounded(estimate: Estimate, most: float) -> Estimate:
    """Its interval between 0 and `most`: Student's t knows no bounds, shares and lengths have them."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.value, max(0.0, estimate.low), min(most, estimate.high))


def differences_over_seeds(
    first: dict[int, Ratios], second: dict[int, Ratios], figures: Sequence[str], resampling: Resampling
) -> dict[str, OverSeeds]:
    """Second minus first, paired by problem and seed; {} where they share none.

    Args:
        first, second: figures by problem; only seeds of both, and of those problems of both, are compared.
        figures: names that all seeds of both have.
    """
    pairs = {}
    for seed in first.keys() & second.keys():
        problems = first[seed].numerators_PF.index.intersection(second[seed].numerators_PF.index, sort=False)
        if len(problems):
            pairs[seed] = [Ratios(*(sums_PF.loc[problems] for sums_PF in one[seed])) for one in (first, second)]
    if not pairs:
        return {}
    seeds = sorted(pairs)
    one, two = (_Sums({seed: pairs[seed][i] for seed in seeds}, figures) for i in (0, 1))
    return _estimates(two, one, figures, resampling)


class _Sums:
    """The sums behind figures over problems and seeds."""

    def __init__(self, by_seed: dict[int, Ratios], figures: Sequence[str]):
        self.seeds = sorted(by_seed)
        parts = [[sums_PF[list(figures)] for sums_PF in by_seed[seed]] for seed in self.seeds]
        index = pd.Index(sorted(set().union(*(numerators_PF.index for numerators_PF, _ in parts))))
        # [seeds, problems, figures]; a problem that a seed does not have counts nothing there.
        self.numerators, self.denominators = (
            np.stack([part[i].reindex(index, fill_value=0.0).to_numpy(float) for part in parts]) for i in (0, 1)
        )

    def values(self) -> np.ndarray:
        """[figures] over everything."""
        return ratios(self.numerators.sum(axis=(0, 1)), self.denominators.sum(axis=(0, 1)))

    def values_of_seeds(self) -> np.ndarray:
        """[seeds, figures]."""
        return ratios(self.numerators.sum(axis=1), self.denominators.sum(axis=1))

    def deviations_of_seeds(self) -> np.ndarray:
        """[seeds, figures]: how far a seed pulls the figure, to first order; for means, its distance from the mean."""
        numerators_SF, denominators_SF = self.numerators.sum(axis=1), self.denominators.sum(axis=1)
        return ratios(
            numerators_SF - self.values() * denominators_SF,
            denominators_SF.mean(axis=0)[None].repeat(len(self.seeds), 0),
        )

    def drawn(self, resampling: Resampling) -> np.ndarray | None:
        """[resamples, figures] over problems drawn, all seeds taken together."""
        return drawn_ratios(
            self.numerators.sum(axis=0), self.denominators.sum(axis=0), resampling.resamples, resampling.seed
        )


def _estimates(
    sums: _Sums, minus: _Sums | None, figures: Sequence[str], resampling: Resampling
) -> dict[str, OverSeeds]:
    """Of one side, or of the difference from another that has the same seeds and problems."""
    values, of_seeds, deviations, drawn = _parts(sums, resampling)
    if minus is not None:
        others = _parts(minus, resampling)
        values, of_seeds, deviations = values - others[0], of_seeds - others[1], deviations - others[2]
        drawn = None if drawn is None or others[3] is None else drawn - others[3]
    if drawn is not None:
        drawn = drawn + _seed_noise(deviations, resampling)
    found = {}
    for i, name in enumerate(figures):
        estimate = estimate_of(float(values[i]), None if drawn is None else drawn[:, i])
        told = (None if np.isnan(value) else float(value) for value in of_seeds[:, i])
        found[name] = OverSeeds(estimate, dict(zip(sums.seeds, told, strict=True)))
    return found


def _parts(sums: _Sums, resampling: Resampling) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    return sums.values(), sums.values_of_seeds(), sums.deviations_of_seeds(), sums.drawn(resampling)


def _seed_noise(deviations_SF: np.ndarray, resampling: Resampling) -> np.ndarray:
    """[resamples, figures] of Student's t with the standard error of the seeds' mean; none of a single seed."""
    seeds = len(deviations_SF)
    if seeds < 2:
        return np.zeros((resampling.resamples, deviations_SF.shape[1]))
    errors_F = np.nan_to_num(deviations_SF.std(axis=0, ddof=1)) / np.sqrt(seeds)
    # Another stream than that of the problems.
    draws_R = np.random.default_rng([resampling.seed, 1]).standard_t(seeds - 1, size=resampling.resamples)
    return draws_R[:, None] * errors_F
