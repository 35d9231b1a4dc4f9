import pytest
import torch

from tapo.core.advantage import decoupled_advantage
from tapo.trainer.contrast import contrast_of, contrast_with, coupled_advantages, last_outputs, query_of


def test_grpo_compares_the_last_output_of_each_session():
    keys = ["a_0_0", "a_0_10", "a_0_9", "a_1_0", "b_0_0"]
    assert last_outputs(keys) == {"a_0": "a_0_10", "a_1": "a_1_0", "b_0": "b_0_0"}


def test_rows_of_both_kinds_belong_to_their_query():
    assert {query_of("u-1_0_0"), query_of("u-1_ref_8_0")} == {"u-1"}


@pytest.mark.parametrize("by_std", [True, False])
def test_coupled_advantages_are_those_of_one_group_that_holds_both_kinds(by_std):
    reward = {"a_0_0": 0.0, "a_1_0": 1.0, "a_2_0": 0.5, "b_0_0": 0.0, "b_1_0": 0.0}
    constructed = {"a": [1.0, 1.0], "b": [1.0]}
    rollouts = coupled_advantages(reward, constructed, normalize_by_std=by_std)
    contrast = contrast_with(reward)
    assert contrast == {"a_ref": [0.0, 1.0, 0.5], "b_ref": [0.0, 0.0]}
    of_refs = decoupled_advantage(
        torch.ones(3), ["a_ref", "a_ref", "b_ref"], contrast_rewards=contrast, normalize_by_std=by_std
    )
    together = decoupled_advantage(
        torch.tensor([0.0, 1.0, 0.5, 0.0, 0.0, 1.0, 1.0, 1.0]), list("aaabbaab"), normalize_by_std=by_std
    )
    torch.testing.assert_close(torch.tensor(list(rollouts.values())), together[:5])
    torch.testing.assert_close(of_refs, together[5:])
    # What decoupling prevents: a right rollout is worth less beside constructed rows.
    alone = decoupled_advantage(torch.tensor([0.0, 1.0, 0.5]), list("aaa"), normalize_by_std=by_std)
    assert rollouts["a_1_0"] < alone[1] and rollouts["a_0_0"] < alone[0] + 0.2


def test_a_contrast_keeps_the_order_of_its_rewards():
    assert contrast_of(["a", "b", "a"], [1.0, 2.0, 3.0]) == {"a": [1.0, 3.0], "b": [2.0]}
