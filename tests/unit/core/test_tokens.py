"""Token ids and their text, for the kinds of vocabularies that policies come with."""

import pytest

from tapo.core.reconstruction import splice
from tapo.core.token_lengths import token_lengths
from tapo.core.tokens import decode, encode_behind, response_text, token_boundary, turn_end
from tests.stand_ins.vocabularies import KINDS, llama2, metaspace, with_end_of_turn

WRONG = "Step 1: 28*3=84\nStep 2: 84-39=55\nStep 3: 55+7=62\n\\boxed{62}"
PREFIX = "Step 1: 28*3=84\nStep 2: 84-39=55"
REFLECTIONS = [
    "\nWait, 84-39 is not 55.\nStep 2: 84-39=45\n\\boxed{52}",
    "... Wait, no: it is  45, with two spaces.",
    " -- sorry, 45.",
    "\n\n  Hmm, an indented doubt.",
]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("new", REFLECTIONS)
def test_splicing_is_token_exact_and_reads_back_with_a_dummy_prefix(tokenizer, new):
    own = encode(tokenizer, WRONG)
    spliced = splice([*own, tokenizer.eos_token_id], PREFIX + new, tokenizer, max_length=500)
    assert spliced.ids[: spliced.prefix_length] == own[: spliced.prefix_length]
    assert decode(tokenizer, spliced.ids) == PREFIX + new == spliced.text
    assert spliced.has_reflection and abs(len(PREFIX) - len(spliced.prefix)) <= 8
    assert tokenizer.unk_token_id not in spliced.ids


def test_the_boundary_is_found_at_any_character(tokenizer):
    ids, text = response_text(encode(tokenizer, WRONG * 6), tokenizer)
    for limit in range(len(text) + 1):
        length, prefix = token_boundary(ids, text, limit, tokenizer)
        assert decode(tokenizer, ids[:length]) == prefix == text[: len(prefix)] and len(prefix) <= limit
        assert length == len(ids) or len(decode(tokenizer, ids[: length + 1])) > limit


def test_new_text_is_encoded_as_the_policy_would_in_the_middle(tokenizer):
    """Without the dummy prefix, and otherwise as in the whole text."""
    kept = encode(tokenizer, "so the")
    assert decode(tokenizer, [*kept, *encode_behind(kept, " answer is 5", tokenizer)]) == "so the answer is 5"
    assert encode_behind(kept, " answer is 5", tokenizer) == encode(tokenizer, "so the answer is 5")[len(kept) :]
    assert encode_behind([], "so the", tokenizer) == kept


def test_a_byte_level_vocabulary_encodes_new_text_by_itself(byte_tokenizer):
    kept = encode(byte_tokenizer, "so the")
    assert encode_behind(kept, " total", byte_tokenizer) == encode(byte_tokenizer, " total")


def test_tokens_are_laid_along_their_text_with_a_dummy_prefix(tokenizer):
    text = "Wait,  84-39 is not   55.\n  So x"
    ids = [*encode(tokenizer, text), tokenizer.eos_token_id]
    lengths = token_lengths(ids, text, tokenizer)
    assert sum(lengths) == len(text) and lengths[-1] == 0
    ends = [sum(lengths[: i + 1]) for i in range(len(ids))]
    assert [decode(tokenizer, ids[: i + 1]) for i in range(len(ids))] == [text[:end] for end in ends]


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("kind", [llama2, lambda: metaspace("first")])
def test_a_trajectory_ends_as_the_policy_ends_its_turns(kind, special):
    tokenizer = kind()
    end = with_end_of_turn(tokenizer, special)
    wrong = [*encode(tokenizer, WRONG), end]
    assert response_text(wrong, tokenizer) == (wrong[:-1], WRONG)
    sibling = [*encode(tokenizer, "42"), end, tokenizer.pad_token_id, tokenizer.pad_token_id]
    assert turn_end(sibling, tokenizer) == [end]
    spliced = splice(wrong, PREFIX + REFLECTIONS[0], tokenizer, max_length=500, end_ids=turn_end(sibling, tokenizer))
    assert spliced.ids[-1] == end and decode(tokenizer, spliced.ids[:-1]) == spliced.text == PREFIX + REFLECTIONS[0]
    lengths = token_lengths(spliced.ids, spliced.text, tokenizer)
    assert sum(lengths) == len(spliced.text) and lengths[-1] == 0


def test_where_the_sibling_was_cut_off_the_wrong_rollouts_end_counts_and_then_the_tokenizers():
    tokenizer = llama2()
    end = with_end_of_turn(tokenizer, special=True)
    own, new = encode(tokenizer, WRONG), PREFIX + REFLECTIONS[0]
    assert turn_end([*own, tokenizer.pad_token_id], tokenizer) == turn_end(own, tokenizer) == []
    for ids, last in (([*own, end], end), (own, tokenizer.eos_token_id)):
        for cut in ([], None):
            assert splice(ids, new, tokenizer, max_length=500, end_ids=cut).ids[-1] == last


def test_padding_that_is_eos_ends_a_turn(byte_tokenizer):
    class Padded:
        all_special_ids = (0,)
        eos_token_id = pad_token_id = 0

    assert turn_end([5, 6, 0, 0], Padded) == [0]


def test_a_tokenizer_without_eos_is_told_in_a_sentence_unless_a_rollout_shows_the_end(byte_tokenizer):
    class Endless:
        all_special_ids = (1,)
        eos_token_id = None
        encode, decode = byte_tokenizer.encode, byte_tokenizer.decode

    own = encode(byte_tokenizer, WRONG)
    with pytest.raises(ValueError, match="eos_token_id = None cannot work: no rollout shows how a turn ends"):
        splice(own, PREFIX + REFLECTIONS[0], Endless, max_length=500)
    assert splice(own, PREFIX + REFLECTIONS[0], Endless, max_length=500, end_ids=[1]).ids[-1] == 1


def test_a_chat_template_that_refuses_turns_names_no_end():
    tokenizer = llama2()
    tokenizer.chat_template = "{{ raise_exception('system first') }}"
    assert response_text(encode(tokenizer, WRONG), tokenizer)[1] == WRONG
