import math

import numpy as np
import pandas as pd
import pytest

from tapo.comparison.seeds import Resampling, differences_over_seeds, estimates_over_seeds
from tapo.evaluation.step_report import Ratios

MANY = Resampling(20_000)


def ratios(values, denominators=None, problems=None):
    index = problems or [f"p{i}" for i in range(len(values))]
    whole = np.ones(len(values)) if denominators is None else denominators
    return Ratios(*(pd.DataFrame({"accuracy": column}, index=index, dtype=float) for column in (values, whole)))


def over(by_seed, resampling=MANY):
    return estimates_over_seeds(by_seed, ["accuracy"], resampling)["accuracy"]


def test_one_seed_has_the_interval_of_its_problems():
    # A resample of {0, 1} has mean 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    found = over({7: ratios([0, 1])})
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == (0.5, 0.0, 1.0)
    assert found.by_seed == {7: 0.5}


def test_where_problems_do_not_differ_the_interval_is_students():
    # Seed means 0.2, 0.4, 0.6: mean 0.4, standard error 0.2/sqrt(3); t with 2 degrees of freedom is 4.303 at 97.5 %.
    found = over({seed: ratios([value] * 4) for seed, value in ((1, 0.2), (2, 0.4), (3, 0.6))})
    assert found.estimate.value == pytest.approx(0.4)
    assert found.estimate.low == 0.0  # 0.4 - 0.497: a share has bounds
    assert found.estimate.high == pytest.approx(0.4 + 4.303 * 0.2 / math.sqrt(3), abs=0.02)


def test_a_length_is_not_negative_and_may_exceed_one():
    by_seed = {seed: ratios([value] * 4) for seed, value in ((1, 2.0), (2, 20.0), (3, 80.0))}
    named = {
        seed: Ratios(*(frame.rename(columns={"accuracy": "length"}) for frame in one)) for seed, one in by_seed.items()
    }
    found = estimates_over_seeds(named, ["length"], MANY)["length"].estimate
    assert found.value == pytest.approx(34.0) and found.low == 0.0
    assert found.high == pytest.approx(34 + 4.303 * np.std([2, 20, 80], ddof=1) / math.sqrt(3), rel=0.05)


def test_the_interval_covers_the_truth_about_as_often_as_it_says_with_three_seeds():
    rng = np.random.default_rng(0)
    covered = {"ours": 0, "range of the seeds": 0}
    draws = 200
    for _ in range(draws):
        shifts, difficulty = rng.normal(0, 0.05, 3), rng.normal(0, 0.05, 30)
        by_seed = {seed: ratios(0.5 + difficulty + shifts[seed]) for seed in range(3)}
        estimate = over(by_seed, Resampling(400)).estimate
        covered["ours"] += estimate.low <= 0.5 <= estimate.high
        means = 0.5 + difficulty.mean() + shifts
        covered["range of the seeds"] += means.min() <= 0.5 <= means.max()
    assert 0.92 <= covered["ours"] / draws <= 0.98
    assert covered["range of the seeds"] / draws < 0.82  # what resampling three seeds comes to


def test_a_difference_is_paired_by_problem_and_seed():
    rng = np.random.default_rng(1)
    first = {seed: rng.random(20) for seed in (1, 2, 3)}
    second = {seed: values + 0.125 for seed, values in first.items()}
    sides = [{seed: ratios(values) for seed, values in side.items()} for side in (first, second)]
    found = differences_over_seeds(*sides, ["accuracy"], MANY)["accuracy"]
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == pytest.approx((0.125, 0.125, 0.125))
    assert found.estimate.beyond_noise and found.ahead == 3
    assert found.by_seed == pytest.approx({1: 0.125, 2: 0.125, 3: 0.125})


def test_only_what_both_sides_have_is_compared():
    first = {1: ratios([0, 0, 1]), 2: ratios([1, 1, 1])}
    second = {2: ratios([1, 0], problems=["p1", "other"]), 3: ratios([0, 0, 0])}
    found = differences_over_seeds(first, second, ["accuracy"], MANY)["accuracy"]
    assert found.by_seed == {2: 0.0}
    assert differences_over_seeds(first, {3: second[3]}, ["accuracy"], MANY) == {}


def test_seeds_with_problems_of_their_own_are_pooled():
    by_seed = {1: ratios([1, 1], problems=["a", "b"]), 2: ratios([0, 1], problems=["c", "d"])}
    assert over(by_seed).estimate.value == 0.75 and over(by_seed).by_seed == {1: 1.0, 2: 0.5}


def test_a_rate_that_a_seed_has_no_response_for_is_pooled_over_the_others():
    found = over({1: ratios([1, 2], [2, 2]), 2: ratios([0, 0], [0, 0])})
    assert found.estimate.value == 0.75 and found.by_seed == {1: 0.75, 2: None}
    assert found.estimate.low <= 0.75 <= found.estimate.high


def test_a_rate_that_no_seed_has_a_response_for_is_undefined():
    nothing = ratios([0, 0], [0, 0])
    assert over({1: nothing, 2: nothing}).estimate.value is None
