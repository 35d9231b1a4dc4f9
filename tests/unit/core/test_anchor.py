"""Finding the passage that the actor quotes as the error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapo.core.anchor import find_anchor, quote_for
from tapo.core.funnel import ConstructionError

ATTEMPT = "Step 1: 70+25=95\nStep 2: 95+1=96\nStep 3: 96-62=34\nStep 4: 34+27=51\nStep 5: 51-7=44\n\\boxed{44}"
PROSE = (
    "The train covers 120 km in 1.5 hours, so its speed is 80 km/h. The return trip takes (2 hours). "
    "Then the average is $\\frac{80+60}{2} = 70$ km/h.\n\nSo the answer is 70."
)


def kept(attempt, anchor):
    return attempt[: anchor.end]


@pytest.mark.parametrize(
    ("quote", "end", "found"),
    [
        ("Step 4: 34+27=51", "34+27=51", "exact"),
        ("34+27=51", "34+27=51", "exact"),
        ("“34+27=51”", "34+27=51", "exact"),
        ("`34+27=51`...", "34+27=51", "exact"),
        ("34 + 27 = 51", "34+27=51", "spaced"),
        ("Step 3: 96-62=34 Step 4: 34+27=51", "34+27=51", "spaced"),
        ("Step 4: 34+27=61", "34+27=51", "close"),
        ("the addition ... Step 4: 34+27=51", "34+27=51", "part"),
    ],
)
def test_a_passage_is_found_in_the_first_of_four_ways_that_finds_it(quote, end, found):
    anchor = find_anchor(quote, ATTEMPT)
    assert (kept(ATTEMPT, anchor).splitlines()[-1].split(": ")[1], anchor.found) == (end, found)


@pytest.mark.parametrize(
    ("quote", "end"),
    [
        ("the average is $\\frac{80+60}{2} = 70", "= 70$"),
        ("takes (2 hours", "(2 hours)."),
        ("its speed is 80 km", "80 km"),
        ("The return tri", "trip"),
    ],
)
def test_what_is_kept_ends_with_the_passages_last_word_and_what_closes_it(quote, end):
    assert kept(PROSE, find_anchor(quote, PROSE)).endswith(end)


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        ("96", "ambiguous_anchor"),
        ("Step", "ambiguous_anchor"),
        ("7=4", "no_anchor"),
        ("a wholly different sentence", "no_anchor"),
        ("...", "no_anchor"),
        ("", "no_anchor"),
    ],
)
def test_a_passage_that_stands_nowhere_or_in_several_places_is_not_guessed(quote, reason):
    with pytest.raises(ConstructionError) as error:
        find_anchor(quote, ATTEMPT)
    assert error.value.reason == reason


def test_of_several_passages_that_are_nearly_the_quote_none_is_taken():
    attempt = "We add 14 to 28 and get 41.\nThen 7.\nWe add 15 to 28 and get 41.\n"
    with pytest.raises(ConstructionError, match="is like several passages"):
        find_anchor("We add 17 to 28 and get 41.", attempt)


def test_a_number_is_not_found_inside_another_one():
    assert find_anchor("7 apples", "17 apples, then 7 apples").end == len("17 apples, then 7 apples")
    with pytest.raises(ConstructionError, match="no_anchor"):
        find_anchor("1", "x = 10")


def test_the_shortest_quote_that_means_a_passage_is_its_last_line_or_more_where_that_stands_elsewhere():
    assert quote_for(ATTEMPT, ATTEMPT.index("Step 5")) == "Step 4: 34+27=51"
    assert quote_for("a = 1\nb = 2\na = 1\nc = 3", len("a = 1\nb = 2\na = 1\n")) == "b = 2\na = 1"
    assert quote_for("x = 1\nx = 1\nx = 1", len("x = 1")) is None


@given(st.text(alphabet="ab1 \n.", min_size=1, max_size=60), st.integers(0, 60))
def test_a_quote_always_means_the_place_that_it_was_made_for(attempt, end):
    end = min(end, len(attempt))
    if quote := quote_for(attempt, end):
        found = find_anchor(quote, attempt).end
        assert found <= end and not attempt[found:end].strip()


@given(st.text(max_size=80), st.text(max_size=200))
def test_any_quote_of_any_attempt_has_an_end_inside_it_or_a_reason(quote, attempt):
    try:
        assert 0 < find_anchor(quote, attempt).end <= len(attempt)
    except ConstructionError as error:
        assert error.reason in ("no_anchor", "ambiguous_anchor")
