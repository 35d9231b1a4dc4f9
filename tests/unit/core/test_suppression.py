import math

import pytest
import torch

from tapo.core.suppression import ood_token_weights


def test_weights_follow_equation_7():
    log_probs = torch.tensor([[-0.5, -3.0, -20.0], [0.0, -0.1, -1.0]])
    entropy = torch.tensor([[0.5, 1.0, 0.0], [9.0, 0.0, 1.5]])
    expected = torch.tensor([[1.0, math.exp(-2.0), 0.01], [10.0, math.exp(-0.1), math.exp(0.5)]])
    torch.testing.assert_close(ood_token_weights(log_probs, entropy), expected)


def test_an_impossible_token_has_the_least_weight_and_infinite_entropy_the_greatest():
    weights = ood_token_weights(torch.tensor([-math.inf, 0.0]), torch.tensor([1.0, math.inf]), low=0.2, high=3.0)
    torch.testing.assert_close(weights, torch.tensor([0.2, 3.0]))


def test_inputs_stay_as_they_are_and_no_gradient_flows():
    log_probs = torch.tensor([-1.0], requires_grad=True)
    entropy = torch.tensor([0.5])
    weights = ood_token_weights(log_probs, entropy)
    assert not weights.requires_grad
    assert (log_probs.item(), entropy.item()) == (-1.0, 0.5)


def test_half_precision_gives_single_precision_weights():
    weights = ood_token_weights(torch.tensor([-1.0], dtype=torch.bfloat16), torch.tensor([1.0], dtype=torch.bfloat16))
    assert weights.dtype == torch.float32 and weights.tolist() == [1.0]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="shapes differ"):
        ood_token_weights(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="low=2, high=1"):
        ood_token_weights(torch.zeros(1), torch.zeros(1), low=2, high=1)
