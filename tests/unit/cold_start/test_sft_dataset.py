"""What the cold start learns, token by token."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from tapo.cold_start.chats import END_KEY, TEMPLATE_KEY
from tapo.cold_start.sft_dataset import ColdStartDataset

# As Qwen3's: thinking switched off shows in the generation prompt, and an answer by itself is rendered without it.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and not loop.first and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
QUERY = "28*3-39?"
ANSWER = "Step 1: 28*3=84\nWait, naïve.\n\\boxed{45}"
PROMPT_TEXT = f"<|im_start|>user\n{QUERY}<|end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture
def tokenizer(byte_tokenizer):
    byte_tokenizer.chat_template = TEMPLATE
    return byte_tokenizer


def dataset(tmp_path, tokenizer, cls=ColdStartDataset, messages=None, sampled=None, end=None, **options):
    messages = messages or [{"role": "user", "content": QUERY}, {"role": "assistant", "content": ANSWER}]
    path = tmp_path / "train.parquet"
    table = pa.Table.from_pylist([{"messages": messages, "kind": "plain"}])
    if sampled is not None:
        table = table.replace_schema_metadata({TEMPLATE_KEY: json.dumps(sampled), END_KEY: json.dumps(end)})
    pq.write_table(table, path)
    config = {"pad_mode": "no_padding", "apply_chat_template_kwargs": {"enable_thinking": False}, "max_length": 500}
    return cls(str(path), tokenizer, OmegaConf.create(config | options))


def test_the_loss_falls_on_the_answer_and_its_end_and_on_nothing_else(tmp_path, tokenizer):
    [row] = [dataset(tmp_path, tokenizer)[0]]
    answer = [*tokenizer.encode(ANSWER, add_special_tokens=False), tokenizer.eos_token_id]
    prompt = tokenizer.encode(PROMPT_TEXT, add_special_tokens=False)
    assert row["input_ids"].tolist() == prompt + answer
    assert row["loss_mask"].tolist() == [0] * len(prompt) + [1] * len(answer)
    assert row["position_ids"].tolist() == list(range(len(prompt + answer)))
    learned = row["input_ids"][row["loss_mask"].bool()]
    assert tokenizer.decode(learned) == f"{ANSWER}<|end|>"


def test_the_prompt_is_the_one_that_a_rollout_is_given(tmp_path, tokenizer):
    row = dataset(tmp_path, tokenizer)[0]
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUERY}], add_generation_prompt=True, enable_thinking=False, tokenize=True
    )
    asked = asked if isinstance(asked, list) else asked["input_ids"]
    assert row["input_ids"][: int((row["loss_mask"] == 0).sum())].tolist() == asked


@pytest.mark.parametrize("thinking", [True, False])
def test_a_chat_with_a_system_prompt_is_tokenised_as_verls_rollout_tokenises_its_query(tmp_path, tokenizer, thinking):
    prompt = [{"role": "system", "content": "Answer in apples."}, {"role": "user", "content": QUERY}]
    kwargs = {"enable_thinking": thinking}
    chat = [*prompt, {"role": "assistant", "content": ANSWER}]
    row = dataset(tmp_path, tokenizer, messages=chat, sampled=kwargs, apply_chat_template_kwargs=kwargs)[0]
    asked = create_continuous_token_builder(tokenizer, chat_template_kwargs=kwargs).build_initial_tokens(prompt)
    assert row["input_ids"][: int((row["loss_mask"] == 0).sum())].tolist() == asked
    assert ("<think>" in tokenizer.decode(asked)) is not thinking


def test_the_answer_ends_as_the_models_own_turns_end(tmp_path, tokenizer):
    def last(end):
        made = dataset(tmp_path, tokenizer, sampled={"enable_thinking": False}, end=end)
        return made[0]["input_ids"][-1]

    assert last(tokenizer.pad_token_id) == tokenizer.pad_token_id
    assert last(None) == last(7) == tokenizer.eos_token_id


def test_template_arguments_other_than_those_of_the_rollouts_are_refused_where_they_change_the_prompt(
    tmp_path, tokenizer
):
    with pytest.raises(ValueError, match=r"apply_chat_template_kwargs = {'enable_thinking': False} cannot work with"):
        dataset(tmp_path, tokenizer, sampled={"enable_thinking": True})
    assert len(dataset(tmp_path, tokenizer, sampled={"enable_thinking": False, "unknown": 1})) == 1


@pytest.mark.parametrize("sampled", [{"enable_thinking": False}, {"enable_thinking": True}, {}])
def test_a_run_that_names_no_template_arguments_takes_those_of_the_rollouts(tmp_path, tokenizer, sampled):
    row = dataset(tmp_path, tokenizer, sampled=sampled, apply_chat_template_kwargs={})[0]
    prompt = tokenizer.decode(row["input_ids"][row["loss_mask"] == 0])
    assert ("<think>" in prompt) is (sampled.get("enable_thinking") is False)


def test_verls_own_class_does_not_fit_such_a_template(tmp_path, tokenizer):
    with pytest.raises(AssertionError, match="may not equal to apply_chat_template to whole messages"):
        dataset(tmp_path, tokenizer, MultiTurnSFTDataset)[0]
    row = dataset(tmp_path, tokenizer, MultiTurnSFTDataset, ignore_input_ids_mismatch=True)[0]
    assert tokenizer.decode(row["input_ids"][row["loss_mask"].bool()]) != f"{ANSWER}<|end|>"


def test_padding_is_neither_seen_nor_learned(tmp_path, tokenizer):
    row = dataset(tmp_path, tokenizer, pad_mode="right", max_length=200)[0]
    length = len(tokenizer.encode(PROMPT_TEXT + ANSWER, add_special_tokens=False)) + 1
    assert {len(tensor) for tensor in row.values()} == {200}
    assert row["attention_mask"].tolist() == [1] * length + [0] * (200 - length)
    assert row["loss_mask"][length:].sum() == 0
    assert row["input_ids"][length:].tolist() == [tokenizer.pad_token_id] * (200 - length)


def test_a_chat_that_is_too_long_is_refused_or_cut_as_the_run_says(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"row 0: \d+ tokens cannot work: data.max_length is 10"):
        dataset(tmp_path, tokenizer, max_length=10)[0]
    whole = dataset(tmp_path, tokenizer)[0]
    assert dataset(tmp_path, tokenizer, max_length=10, truncation="left")[0]["loss_mask"].tolist() == [1] * 10
    right = dataset(tmp_path, tokenizer, max_length=10, truncation="right")[0]
    assert right["input_ids"].tolist() == whole["input_ids"][:10].tolist() and right["loss_mask"].sum() == 0


def test_a_chat_that_does_not_end_with_an_answer_is_refused(tmp_path, tokenizer):
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(ValueError, match=r"row 0: roles \['user', 'user'\] cannot work"):
        dataset(tmp_path, tokenizer, messages=messages)[0]
