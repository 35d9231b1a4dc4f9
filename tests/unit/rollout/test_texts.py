"""What is told of a constructed text."""

import pytest

from tapo.core.reconstruction import Spliced
from tapo.rollout.texts import answer_tokens, edit_size, repeats_last_line


class Words:
    """A token is an entry of a list."""

    def __init__(self, *words):
        self.words = words
        self.all_special_ids = []

    def decode(self, ids, **options):
        return "".join(self.words[token] for token in ids)


def spliced(*words):
    return Spliced(list(range(len(words))), 1, "", prefix=words[0], correction="".join(words[1:])), Words(*words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a\n", "b ", "\\boxed{", "5", "}", ""], (2, 3)),
        (["a\n", "b \\box", "ed{5", "}.", "c", ""], (1, 3)),
        (["\\boxed{1}", " no, ", "\\boxed", "{\\frac{1}", "{2}}", ""], (2, 3)),
        (["a\n", "b 5", ""], (0, 0)),
        (["a\n", "\\boxed{5", ""], (0, 0)),
    ],
)
def test_the_answers_tokens_are_those_of_the_last_box_with_its_braces(words, expected):
    assert answer_tokens(*spliced(*words)) == expected


def test_a_line_is_repeated_where_the_last_kept_one_stands_again_as_a_line():
    prefix = "Step 1: 1+1=2\nStep 2: 2+2=5\n\n"
    assert repeats_last_line(prefix, "Step 2: 2+2=4\nStep 2: 2+2=5 \n\\boxed{5}")
    assert not repeats_last_line(prefix, "Step 2: 2+2=4\nStep 1: 1+1=2")
    assert not repeats_last_line(prefix, "As I said, Step 2: 2+2=5")
    assert not repeats_last_line("", "a\nb") and not repeats_last_line("\n", "\n")


def test_the_size_of_an_edit_is_new_tokens_over_dropped_ones():
    assert edit_size(tokens=16, prefix_length=10, wrong_tokens=14) == 1.5
    assert edit_size(tokens=16, prefix_length=10, wrong_tokens=10) == 6.0
