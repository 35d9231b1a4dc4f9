import random

import numpy as np
import pytest

from tapo.core.selection import PAPER_N_NEG, PAPER_N_POS, least_of, select_candidates

REWARDS = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5]  # correct: 0, 3; wrong: 1, 2, 4, 5, 6, 7


def select(rewards, seed=0, **options):
    return select_candidates(rewards, **{"n_pos": 2, "n_neg": 4, "m_max": 4, "rng": random.Random(seed), **options})


def test_pairs_are_distinct_wrong_rollouts_each_with_a_correct_one():
    for seed in range(50):
        pairs = select(REWARDS, seed)
        wrong = [pair[0] for pair in pairs]
        assert len(pairs) == 4
        assert wrong == sorted(set(wrong))
        assert set(wrong) <= {1, 2, 4, 5, 6, 7}
        assert {pair[1] for pair in pairs} <= {0, 3}


def test_every_wrong_rollout_and_every_sibling_is_drawn_sometimes():
    drawn = [pair for seed in range(200) for pair in select(REWARDS, seed)]
    assert {wrong for wrong, _ in drawn} == {1, 2, 4, 5, 6, 7}
    assert {correct for _, correct in drawn} == {0, 3}


def test_all_wrong_rollouts_are_taken_when_they_are_fewer_than_m_max():
    assert [wrong for wrong, _ in select([1, 1, 0, 0], n_neg=2, m_max=9)] == [2, 3]


@pytest.mark.parametrize(
    "rewards",
    [[1] * 8, [0] * 8, [1] + [0] * 7, [1] * 5 + [0] * 3, []],
    ids=["mastered", "hopeless", "too few correct", "too few wrong", "empty"],
)
def test_groups_off_the_capability_boundary_are_not_eligible(rewards):
    assert select(rewards) == []


def test_a_reward_equal_to_the_threshold_is_wrong():
    assert select([0.5, 0.6], n_pos=1, n_neg=1) == [(0, 1)]
    assert select([0.5, 0.6], n_pos=1, n_neg=1, threshold=0.4) == []


def test_equal_seeds_pick_the_same_with_either_generator():
    assert select(REWARDS, 3) == select(REWARDS, 3)
    options = {"n_pos": 2, "n_neg": 4, "m_max": 4}
    first, second = (select_candidates(REWARDS, rng=np.random.default_rng(3), **options) for _ in range(2))
    assert first == second and len(first) == 4


def test_cut_off_rollouts_are_built_upon_last_and_are_no_siblings():
    for seed in range(50):
        pairs = select(REWARDS, seed, truncated=[True, False, True, False, True, True, False, True])
        assert len(pairs) == 4
        assert {1, 6} < {wrong for wrong, _ in pairs} and {correct for _, correct in pairs} == {3}


def test_cut_off_rollouts_can_be_left_out_and_still_count_for_eligibility():
    rewards = [1, 1, 0, 0, 0, 0]
    cut = [False, True, False, True, True, True]
    assert select(rewards, truncated=cut, truncated_wrong=False) == [(2, 0)]
    assert select(rewards, truncated=[True, True, False, False, False, False]) == []


def test_with_nothing_cut_off_the_same_pairs_are_drawn():
    for seed in range(20):
        assert select(REWARDS, seed, truncated=[False] * 8) == select(REWARDS, seed)


@pytest.mark.parametrize(
    ("group_size", "thresholds"),
    [(2, (1, 1)), (3, (1, 1)), (4, (1, 2)), (5, (1, 2)), (8, (2, 4)), (16, (4, 8)), (64, (16, 32))],
)
def test_thresholds_are_the_papers_shares_of_the_group(group_size, thresholds):
    assert (least_of(group_size, PAPER_N_POS), least_of(group_size, PAPER_N_NEG)) == thresholds


def test_a_threshold_is_a_number_of_rollouts_or_a_share_that_rounding_does_not_lose():
    assert [least_of(8, 3), least_of(100, 0.29), least_of(8, 0.01)] == [3, 29, 1]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="n_pos must be >= 1, got 0"):
        select(REWARDS, n_pos=0)
    with pytest.raises(ValueError, match="NaN"):
        select([float("nan"), 1.0])
    with pytest.raises(ValueError, match="one flag per reward, got 1 for 8"):
        select(REWARDS, truncated=[True])
