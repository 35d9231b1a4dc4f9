"""The example's optimiser."""

import sys
from copy import deepcopy
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "arithmetic"))

from muon import ADAM_SHARE, MuonAdamW


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))


def optimiser(module):
    return MuonAdamW(module.parameters(), lr=0.01, vocab_size=7)


def step(module, optimizer, seed):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    module(torch.randint(0, 7, (5,))).square().sum().backward()
    optimizer.step()


def test_layers_go_to_muon_and_the_rest_to_adamw_at_its_share_of_the_rate():
    module = model()
    optimizer = optimiser(module)
    assert [p is module[1].weight for group in optimizer.muon.param_groups for p in group["params"]] == [True]
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.004  # as a schedule does
    step(module, optimizer, 1)
    assert optimizer.muon.param_groups[0]["lr"] == 0.004
    assert optimizer.adam.param_groups[0]["lr"] == 0.004 * ADAM_SHARE


def test_a_restored_optimiser_goes_on_as_the_saved_one():
    module = model()
    optimizer = optimiser(module)
    step(module, optimizer, 1)
    optimizer.param_groups[0]["lr"] = 0.02
    copy = model()
    copy.load_state_dict(module.state_dict())
    restored = optimiser(copy)
    restored.load_state_dict(deepcopy(optimizer.state_dict()))
    step(module, optimizer, 2)
    step(copy, restored, 2)
    for one, two in zip(module.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
