"""The example's optimiser."""

from copy import deepcopy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from examples.common.muon import ADAM_SHARE, MuonAdamW


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))


def optimiser(module):
    return MuonAdamW(module.parameters(), lr=0.01)


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


@pytest.mark.parametrize("tied", [True, False])
def test_embedding_and_head_are_told_whatever_the_size_of_the_vocabulary(tied):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = AutoConfig.for_model(
        "qwen3", vocab_size=16, num_hidden_layers=2, head_dim=8, tie_word_embeddings=tied, **sizes
    )
    model = AutoModelForCausalLM.from_config(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = MuonAdamW(model.parameters())
    muon, adam = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert muon == {name for name in names.values() if name.endswith("_proj.weight")}
    assert {name for name in adam if "norm" not in name} == {"model.embed_tokens.weight"} | (
        set() if tied else {"lm_head.weight"}
    )


def test_flat_shards_are_refused():
    with pytest.raises(ValueError, match=r"first parameter is of shape \(12,\).*fsdp2"):
        MuonAdamW([torch.nn.Parameter(torch.zeros(12))])


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
