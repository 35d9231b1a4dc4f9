import random

import pytest

from tapo.core.reconstruction import decode
from tapo.core.token_lengths import token_lengths


def test_a_token_counts_the_characters_it_completes(byte_tokenizer):
    text = "a ∈ 中"
    ids = [*byte_tokenizer.encode(text, add_special_tokens=False), byte_tokenizer.eos_token_id]
    lengths = token_lengths(ids, text, byte_tokenizer)
    ends = [sum(lengths[: i + 1]) for i in range(len(ids))]
    for end, count in zip(ends, range(1, len(ids) + 1), strict=True):
        assert decode(byte_tokenizer, ids[:count]).rstrip("\ufffd") == text[:end]
    assert lengths[-1] == 0 and ends[-1] == len(text)


def test_any_sequence_of_bytes_is_laid_along_its_text(byte_tokenizer):
    draw = random.Random(0)
    for _ in range(50):
        ids = [draw.randrange(len(byte_tokenizer)) for _ in range(60)]
        text = decode(byte_tokenizer, ids)
        assert sum(token_lengths(ids, text, byte_tokenizer)) == len(text)


class Words:
    """A vocabulary that marks word beginnings: a word decoded by itself loses its space."""

    def decode(self, ids, **options):
        return " ".join(("the", "sum", "is")[token] for token in ids)


def test_a_space_lost_in_front_of_a_single_token_is_found_again():
    assert token_lengths([0, 1, 2], "the sum is", Words()) == [3, 4, 3]


@pytest.mark.parametrize("text", ["the difference is", "the sum is what"])
def test_tokens_of_another_text_have_no_lengths(text):
    assert token_lengths([0, 1, 2], text, Words()) is None
