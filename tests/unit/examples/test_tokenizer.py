"""The examples' tokenizer, with the arithmetic example's phrases."""

import string

import pytest

from examples.common.task import load_task
from examples.common.tokenizer import build_tokenizer
from examples.common.vocabulary import TAGS, words
from tests.stand_ins.examples import EXAMPLES


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(load_task(EXAMPLES / "arithmetic"))


def test_tokenizer_is_lossless_on_ascii(tokenizer):
    texts = [
        "".join(map(chr, range(32, 127))) + "\n\t",
        string.ascii_letters * 3,
        "  two  spaces . Add  Add Step 1:Step 1: \n\n",
        "<analysis>Step 1: 84 vs 84 same.</analysis>\n<reconstruction>Wait, \\boxed{58}</reconstruction>",
    ]
    for text in texts:
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_phrases_and_tags_are_single_tokens(tokenizer):
    tokens = tokenizer.tokenize("<analysis>Step 2: 55 vs 45 differs.</analysis>\n<reconstruction>")
    assert tokens == [
        *("<analysis>", "Step 2: ", "5", "5", " vs ", "4", "5", " differs.", "</analysis>"),
        *("\n", "<reconstruction>"),
    ]


def test_chat_template_marks_roles_and_ends_answers(tokenizer):
    messages = [
        {"role": "system", "content": "A"},
        {"role": "user", "content": "B"},
        {"role": "assistant", "content": "C"},
    ]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert whole == "<|system|>A<|user|>B<|assistant|>C<|end|>"
    prompt = tokenizer.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|system|>A<|user|>B<|assistant|>"
    assert tokenizer.decode(tokenizer(whole).input_ids, skip_special_tokens=True) == "ABC"


def test_a_saved_tokenizer_is_loaded_unchanged(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Start with 28. Add 5. What is the result?"}], tokenize=False
    )
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert (len(loaded), loaded.eos_token, loaded.pad_token) == (len(tokenizer), "<|end|>", "<|pad|>")
    assert loaded.chat_template == tokenizer.chat_template


def test_a_phrase_stands_where_it_comes_first_and_once():
    assert words(["Rewrite.", "a", "Try "])[:6] == [*TAGS, "Rewrite.", "a"]
    assert len(words(["Rewrite.", "a", "Try "])) == len(words([])) + 1
