import json

import pytest

from tapo.options import ConfigError
from tapo.planning.model import ModelSize, model_size

BILLION = 1e9


@pytest.mark.parametrize(
    ("name", "parameters", "active", "kv_bytes"),
    # Parameters as the models' cards give them; bytes are 2 (key, value) x layers x key-value heads x 128 x 2.
    [
        ("Qwen/Qwen3-1.7B", 1.7, 1.7, 2 * 28 * 8 * 128 * 2),
        ("Qwen/Qwen3-4B", 4.0, 4.0, 2 * 36 * 8 * 128 * 2),
        ("Qwen/Qwen3-8B", 8.2, 7.6, 2 * 36 * 8 * 128 * 2),
        ("Qwen/Qwen2.5-Math-7B", 7.6, 7.1, 2 * 28 * 4 * 128 * 2),
        ("Qwen/Qwen3-30B-A3B", 30.5, 3.0, 2 * 48 * 4 * 128 * 2),
    ],
)
def test_the_models_of_the_recipes_are_known_without_a_hub(name, parameters, active, kv_bytes):
    size = model_size(name)
    assert size.parameters / BILLION == pytest.approx(parameters, abs=0.05)
    assert size.active / BILLION == pytest.approx(active, abs=0.05)
    assert size.kv_bytes == kv_bytes


TINY = {
    "model_type": "qwen3",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 50,
    "tie_word_embeddings": False,
    "max_position_embeddings": 64,
}


def test_a_size_is_that_of_the_model_that_transformers_makes(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    attention, mlp = 8 * (16 + 8 + 8) + 16 * 8, 3 * 8 * 16
    norms = 2 * 8 + 2 * 4
    layers = 2 * (attention + mlp + norms) + 8
    ends = (8 + 16) + 2 * (8 + 8) + (16 + 8) + 3 * (8 + 16)
    expected = ModelSize(
        parameters=layers + 2 * 50 * 8,
        active=layers + 50 * 8,
        experts=0,
        layers=2,
        hidden=8,
        vocab=50,
        linear_ends=2 * ends,
        attention=16,
        kv_bytes=2 * 2 * 2 * 4 * 2,
        context=64,
    )
    assert model_size(str(tmp_path)) == model_size("/none", tmp_path / "config.json") == expected
    # 2 a parameter and token; in attention 4 a pair of a query and an earlier key, half of the square being earlier.
    assert expected.forward_flops(10, 6) == 10 * 2 * expected.active + 10 * 3 * 4 * 2 * 16


def test_a_model_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"actor_rollout_ref.model.path = '/none/such' cannot work: needs a model"):
        model_size("/none/such")
    with pytest.raises(ConfigError, match=r"model_config_file = '.*x.json' cannot work"):
        model_size("Qwen/Qwen3-8B", tmp_path / "x.json")
