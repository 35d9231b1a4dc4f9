"""``last_boxed``: which box counts, what completes it, and that its time is linear."""

import time

import pytest

from tapo.rewards import last_boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{82}.", "82"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{}", ""),
        (r"\boxed{ 3 }", " 3 "),
        ("\\boxed{a\nb}", "a\nb"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3 \boxed{5} 4}", "5"),
    ],
)
def test_the_last_box_counts_and_of_nested_boxes_the_inner_one(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    "text", ["", "82", r"\boxed", r"\boxed{", r"\boxed{82", r"\boxed 82", r"\boxedness{82}", r"boxed{8}"]
)
def test_text_without_a_complete_box_has_none(text):
    assert last_boxed(text) is None


def test_a_box_that_is_never_closed_is_passed_over():
    assert last_boxed(r"\boxed{82} or \boxed{83") == "82"
    assert last_boxed(r"\boxed{83 + \boxed{82} and") == "82"


def test_stray_braces_around_a_box_do_not_matter():
    assert last_boxed(r"} { \boxed{82} } { }") == "82"


def test_escaped_braces_do_not_count_as_tex_does_not_count_them():
    assert last_boxed(r"\boxed{\left\{ x \right.}") == r"\left\{ x \right."
    assert last_boxed(r"\boxed{\}}") == r"\}"
    assert last_boxed(r"\boxed{a \\}") == r"a \\"


@pytest.mark.parametrize("piece", ["{", "}", r"\boxed{", "\\", r"\boxed ", " ", "$", r"\boxed{1}", r"\{"])
def test_half_a_million_characters_take_seconds_at_most(piece):
    text = piece * (500_000 // len(piece))
    started = time.monotonic()
    last_boxed(text)
    last_boxed(r"\boxed" + " " * 500_000)
    assert time.monotonic() - started < 5
