import math

import numpy as np
import pytest

from tapo.evaluation import bootstrap
from tapo.evaluation.bootstrap import Estimate, estimates, paired_differences, resampled_sums


def ones(values):
    return np.ones_like(values)


def test_the_interval_of_two_problems_is_the_whole_range():
    # A resample of {0, 1} has mean 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    values = np.array([[0.0], [1.0]])
    assert estimates(values, ones(values)) == [Estimate(0.5, 0.0, 1.0)]


def test_the_interval_of_a_mean_covers_1_96_standard_errors():
    values = np.random.default_rng(1).normal(size=(400, 1))
    (estimate,) = estimates(values, ones(values), resamples=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_a_pooled_rate_is_a_ratio_of_sums():
    (rate,) = estimates(np.array([[1.0], [0.0], [2.0]]), np.array([[1.0], [0.0], [4.0]]))
    assert rate.value == 3 / 5


def test_a_rate_without_a_denominator_is_undefined_and_a_rare_one_has_no_interval():
    nothing = np.zeros((4, 1))
    assert estimates(nothing, nothing) == [Estimate(None, None, None)]
    # One problem of four has any: it is missing from (3/4)^4 = 32 % of the resamples.
    some = np.array([[1.0], [0.0], [0.0], [0.0]])
    assert estimates(some, some) == [Estimate(1.0, None, None)]


def test_one_problem_has_no_interval():
    value = np.array([[0.25]])
    assert estimates(value, ones(value)) == [Estimate(0.25, None, None)]


def test_blocks_draw_what_one_block_draws(monkeypatch):
    columns = np.random.default_rng(0).random((7, 3))
    whole = resampled_sums(columns, 50, seed=3)
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 30)
    assert resampled_sums(columns, 50, seed=3) == pytest.approx(whole)
    assert not np.allclose(resampled_sums(columns, 50, seed=4), whole)


def test_a_constant_difference_has_no_noise_however_much_the_problems_differ():
    first = np.random.default_rng(2).random((30, 1))
    (shifted,) = paired_differences((first, ones(first)), (first + 0.125, ones(first)))
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx((0.125, 0.125, 0.125))
    assert shifted.beyond_noise
    (same,) = paired_differences((first, ones(first)), (first, ones(first)))
    assert not same.beyond_noise


def test_the_order_of_columns_and_of_constant_denominators_does_not_matter():
    rng = np.random.default_rng(5)
    numerators, denominators = rng.random((20, 2)), np.column_stack([np.ones(20), rng.random(20)])
    both = estimates(numerators, denominators)
    assert both[0].low == pytest.approx(estimates(numerators[:, :1], denominators[:, :1])[0].low)
    assert both[1].low == pytest.approx(estimates(numerators[:, 1:], denominators[:, 1:])[0].low)
