"""Intervals from resampling problems.

Every figure is a ratio of two sums over problems: a mean has ones in its denominator, a pooled rate has counts.
Resampling problems weights both sums alike, so one matrix product serves all figures of a resample.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
LEAST_PROBLEMS = 2
"""Below this nothing can be resampled, and there is no interval."""
MOST_UNDEFINED = 0.05
"""Largest share of resamples in which a ratio may be undefined (no problem in it has a denominator)."""
ROUNDING = 1e-9
"""Two equal sums may come out of a matrix product apart by less than this."""
BLOCK_CELLS = 2_000_000
"""Cells of one block of weights: bounds memory whatever the number of problems."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its percentile interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def beyond_noise(self) -> bool:
        """Of a difference: whether the interval excludes zero."""
        return self.low is not None and self.high is not None and (self.low > ROUNDING or self.high < -ROUNDING)


def resampled_sums(columns_PF: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums over problems drawn with replacement.

    Args:
        columns_PF: [problems, columns].
        resamples: draws of as many problems as there are.
        seed: two calls with equal seed, problems and resamples draw the same problems.

    Returns:
        float64 [resamples, columns].
    """
    problems = len(columns_PF)
    rng = np.random.default_rng(seed)
    sums_RF = np.empty((resamples, columns_PF.shape[1]))
    block = max(1, BLOCK_CELLS // problems)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn_RP = rng.integers(0, problems, size=(rows, problems), dtype=np.int32)
        drawn_RP += (np.arange(rows, dtype=np.int32) * problems)[:, None]
        weights = np.bincount(drawn_RP.ravel(), minlength=rows * problems).reshape(rows, problems)
        sums_RF[start : start + rows] = weights.astype(float) @ columns_PF
    return sums_RF


def estimates(
    numerators_PF: np.ndarray, denominators_PF: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Estimate]:
    """Ratios of sums over problems with their 95 % percentile intervals.

    Args:
        numerators_PF, denominators_PF: float64 [problems, figures].

    Returns:
        One estimate a figure.
    """
    columns = numerators_PF.shape[1]
    values_F = ratios(numerators_PF.sum(axis=0), denominators_PF.sum(axis=0))
    drawn_RF = drawn_ratios(numerators_PF, denominators_PF, resamples, seed)
    return [estimate_of(float(values_F[i]), None if drawn_RF is None else drawn_RF[:, i]) for i in range(columns)]


def paired_differences(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Estimate]:
    """Differences second - first of ratios over the same problems, resampled jointly.

    Args:
        first, second: (numerators, denominators), each [problems, figures]; row p is the same problem in both.

    Returns:
        One estimate a figure.
    """
    assert first[0].shape == second[0].shape
    figures = first[0].shape[1]
    both = np.hstack([first[0], second[0]]), np.hstack([first[1], second[1]])
    values = ratios(both[0].sum(axis=0), both[1].sum(axis=0))
    drawn = drawn_ratios(*both, resamples, seed)
    return [
        estimate_of(
            float(values[figures + i] - values[i]), None if drawn is None else drawn[:, figures + i] - drawn[:, i]
        )
        for i in range(figures)
    ]


def drawn_ratios(numerators: np.ndarray, denominators: np.ndarray, resamples: int, seed: int) -> np.ndarray | None:
    """Float64 [resamples, figures]: each figure over problems drawn with replacement, NaN where it is undefined; None
    with too few problems to draw from."""
    if len(numerators) < LEAST_PROBLEMS:
        return None
    # A constant column weighs the same in every resample, so the denominators of means need no product.
    columns = numerators.shape[1]
    constant = np.all(denominators == 1, axis=0)
    sums = resampled_sums(np.hstack([numerators, denominators[:, ~constant]]), resamples, seed)
    drawn_denominators = np.full((resamples, columns), float(len(numerators)))
    drawn_denominators[:, ~constant] = sums[:, columns:]
    return ratios(sums[:, :columns], drawn_denominators)


def ratios(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Numerators over denominators; NaN where a denominator is 0."""
    return np.divide(numerators, denominators, out=np.full(numerators.shape, np.nan), where=denominators > 0)


def estimate_of(value: float, drawn_R: np.ndarray | None) -> Estimate:
    """A figure with the 95 % percentile interval of its draws."""
    if np.isnan(value):
        return Estimate(None, None, None)
    if drawn_R is None:
        return Estimate(value, None, None)
    defined = drawn_R[~np.isnan(drawn_R)]
    if len(defined) < (1 - MOST_UNDEFINED) * len(drawn_R):
        return Estimate(value, None, None)
    tail = (1 - LEVEL) / 2
    return Estimate(value, float(np.quantile(defined, tail)), float(np.quantile(defined, 1 - tail)))
