"""The engine's context length under TAPO, and what it costs."""

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from tapo.config import TapoConfig
from tapo.launch.context import (
    REENCODING_TOKENS,
    construction_max_tokens,
    context_report,
    kv_bytes_per_token,
    prompt_tokens,
)

QWEN3_8B = {
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_size": 4096,
    "max_position_embeddings": 40960,
}
DEEPSEEK_V3 = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "hidden_size": 7168,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
}


@pytest.fixture
def tokenizer(byte_tokenizer):
    byte_tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    return byte_tokenizer


def report(tokenizer, max_model_len=None, context=40960, prompt=1024, response=8192, **options):
    rollout = {"prompt_length": prompt, "response_length": response, "max_model_len": max_model_len}
    config = OmegaConf.create({"data": {}, "actor_rollout_ref": {"rollout": {**rollout, "dtype": "bfloat16"}}})
    text_config = SimpleNamespace(**{**QWEN3_8B, "max_position_embeddings": context})
    model = SimpleNamespace(hf_config=SimpleNamespace(get_text_config=lambda: text_config), tokenizer=tokenizer)
    return context_report(config, TapoConfig.from_mapping(options), model)


def test_an_answer_has_room_for_a_response_and_an_analysis_of_a_few_sentences():
    assert construction_max_tokens(TapoConfig(), 200) == 300
    assert construction_max_tokens(TapoConfig(), 8192) == 8192 + 1024
    assert construction_max_tokens(TapoConfig.from_mapping({"construction": {"max_tokens": 50}}), 200) == 50


def test_the_prompts_own_words_are_counted_by_the_models_tokenizer(tokenizer):
    prompt = {"construction": {"prompt": "{query}{wrong}{correct}abc"}}
    tokens = prompt_tokens(TapoConfig.from_mapping(prompt), tokenizer, {})
    assert tokens == len(tokenizer.encode("abc")) + REENCODING_TOKENS


def test_unset_it_is_as_small_as_every_construction_allows(tokenizer):
    words = prompt_tokens(TapoConfig(), tokenizer, {})
    length, message = report(tokenizer)
    assert length == 1024 + 2 * 8192 + words + 8192 + 1024
    assert f"max_model_len = {length} tokens (set by TAPO)" in message
    assert "A rollout takes up to 9216" in message and "do not fit" not in message
    # 36 layers x 2 x 8 heads x 128 x 2 bytes a token
    assert f"{length * 147456 / 2**30:.2g} GiB" in message


def test_it_never_exceeds_the_models_own_context_and_says_what_is_dropped_then(tokenizer):
    length, message = report(tokenizer, context=12288)
    assert length == 12288
    assert "the model's context" in message and "rejected/does_not_fit" in message


def test_the_users_number_stays(tokenizer):
    length, message = report(tokenizer, max_model_len=9216)
    assert length == 9216 and "(as set)" in message and "rejected/does_not_fit" in message
    assert report(tokenizer, max_model_len=40960)[0] == 40960


def test_less_room_for_the_answer_means_less_context(tokenizer):
    whole, _ = report(tokenizer)
    short, _ = report(tokenizer, construction={"max_tokens": 2048})
    assert whole - short == 8192 + 1024 - 2048


@pytest.mark.parametrize(
    ("config", "bytes_per_value", "expected"),
    [(QWEN3_8B, 2, 147456), (QWEN3_8B, 4, 294912), (DEEPSEEK_V3, 2, 61 * 576 * 2), ({}, 2, None)],
)
def test_bytes_of_kv_cache_a_token(config, bytes_per_value, expected):
    assert kv_bytes_per_token(SimpleNamespace(**config), bytes_per_value) == expected
