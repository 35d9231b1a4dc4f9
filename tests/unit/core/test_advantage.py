import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tapo.core.advantage import decoupled_advantage


def test_groups_are_normalised_by_themselves():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    ids = ["a", "a", "a", "a", "a_ref", "a_ref", "a_ref"]
    advantages = decoupled_advantage(rewards, ids, eps=0.0)
    # std of (1, 0, 0, 0) is 0.5, of (1, 1, 0) sqrt(1/3)
    expected = [1.5, -0.5, -0.5, -0.5, 3**-0.5, 3**-0.5, -2 * 3**-0.5]
    torch.testing.assert_close(advantages, torch.tensor(expected))


def test_constructed_rows_never_change_the_advantages_of_rollouts():
    rollouts = torch.tensor([1.0, 0.0, 0.0, 1.0])
    alone = decoupled_advantage(rollouts, ["a"] * 4)
    beside = decoupled_advantage(torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0]), ["a"] * 4 + ["a_ref"] * 2)
    assert torch.equal(alone, beside[:4])


def test_contrast_rewards_enter_mean_and_std_only():
    advantages = decoupled_advantage(torch.ones(2), ["r", "r"], contrast_rewards={"r": [0.0, 0.0]}, eps=0.0)
    # std of (1, 1, 0, 0) is sqrt(1/3)
    torch.testing.assert_close(advantages, torch.full((2,), 0.5 * 3**0.5))
    assert decoupled_advantage(torch.ones(2), ["r", "r"]).tolist() == [0.0, 0.0]


def test_one_row_gains_a_signal_from_its_contrast():
    assert decoupled_advantage(torch.ones(1), ["r"]).tolist() == [0.0]
    advantage = decoupled_advantage(torch.ones(1), ["r"], contrast_rewards={"r": [0.0]}, eps=0.0)
    torch.testing.assert_close(advantage, torch.tensor([0.5**0.5]))


def test_zero_spread_is_zero_even_where_the_mean_rounds():
    assert decoupled_advantage(torch.tensor([0.1, 0.1, 0.1]), [7, 7, 7]).tolist() == [0.0, 0.0, 0.0]


def test_without_std_the_mean_is_subtracted():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert decoupled_advantage(rewards, [0] * 4, normalize_by_std=False).tolist() == [0.75, -0.25, -0.25, -0.25]


def test_bad_shapes_and_unknown_groups_are_named():
    with pytest.raises(ValueError, match="N group ids"):
        decoupled_advantage(torch.ones(2, 2), ["a", "a"])
    with pytest.raises(ValueError, match="without a row: \\['b'\\]"):
        decoupled_advantage(torch.ones(1), ["a"], contrast_rewards={"b": [0.0]})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.0, 0.25])), min_size=1, max_size=40))
def test_rollouts_get_the_bits_of_verls_grpo(rows):
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    from tapo.trainer.estimator import compute_tapo_advantage

    index = np.array([f"uid{group}" for group, _ in rows], dtype=object)
    rewards = torch.zeros(len(rows), 3)
    rewards[:, 1] = torch.tensor([reward for _, reward in rows])
    mask = torch.ones(len(rows), 3)
    ours, returns = compute_tapo_advantage(rewards, mask, index=index, config={})
    theirs, _ = compute_grpo_outcome_advantage(rewards, mask, index)
    assert torch.equal(ours, theirs) and torch.equal(returns, ours)


def test_a_lone_rollout_keeps_grpos_raw_reward_and_a_lone_constructed_row_has_none():
    from tapo.trainer.estimator import compute_tapo_advantage

    index = np.array(["a", "b_ref"], dtype=object)
    advantages, _ = compute_tapo_advantage(torch.ones(2, 1), torch.ones(2, 1), index=index)
    torch.testing.assert_close(advantages, torch.tensor([[1 / (1 + 1e-6)], [0.0]]))
