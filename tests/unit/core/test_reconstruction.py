import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tapo.core.copies import COPIED_BLOCK, TRACKING_WINDOW, _share_block
from tapo.core.reconstruction import (
    Construction,
    ConstructionError,
    parse_construction,
    response_text,
    splice,
    split_reflection,
)

WRONG = "Step 1: 28*3=84\nStep 2: 84-39=55\nStep 3: 55+7=62\n\\boxed{62}"
KEPT = "Step 1: 28*3=84\nStep 2: 84-39=55\n"
REFLECTION = "Wait, 84-39 is not 55.\n"
CORRECTION = "Step 2: 84-39=45\nStep 3: 45+7=52\n\\boxed{52}"
GOOD = KEPT + REFLECTION + CORRECTION


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def run(tokenizer, reconstruction, wrong=WRONG, **options):
    ids = wrong if isinstance(wrong, list) else [*encode(tokenizer, wrong), tokenizer.eos_token_id]
    return splice(ids, reconstruction, tokenizer, **{"max_length": 500, **options})


def reason(tokenizer, reconstruction, wrong=WRONG, **options):
    with pytest.raises(ConstructionError) as caught:
        run(tokenizer, reconstruction, wrong, **options)
    return caught.value.reason


# parsing


def test_the_two_blocks_are_read_and_one_newline_at_either_end_belongs_to_the_tags():
    text = "Sure.\n<analysis>\nStep 2.\n</analysis>\n\n<reconstruction>\n\nA\nB\n\n</reconstruction> done"
    assert parse_construction(text) == Construction("Step 2.", "\nA\nB\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<analysis>a</analysis>",
        "<reconstruction>r</reconstruction>",
        "<analysis>a</analysis><reconstruction>r",
        "<reconstruction>r</reconstruction><analysis>a</analysis>",
        "<analysis>a</analysis><reconstruction> \n </reconstruction>",
        "<analysis>a</analysis><reconstruction>r</reconstruction><reconstruction>s</reconstruction>",
        "<analysis>a</analysis> and so <reconstruction>r</reconstruction>",
    ],
)
def test_answers_out_of_format_are_rejected(text):
    with pytest.raises(ConstructionError) as caught:
        parse_construction(text)
    assert caught.value.reason == "bad_format"


# splicing


def test_a_trajectory_is_own_prefix_then_new_text_then_eos(byte_tokenizer):
    spliced = run(byte_tokenizer, GOOD)
    own = encode(byte_tokenizer, WRONG)
    assert spliced.ids[: spliced.prefix_length] == own[: spliced.prefix_length]
    assert spliced.ids[-1] == byte_tokenizer.eos_token_id
    assert byte_tokenizer.decode(spliced.ids[:-1]) == GOOD == spliced.text
    assert (spliced.prefix, spliced.reflection, spliced.correction) == (KEPT, REFLECTION, CORRECTION)


def test_a_splice_point_inside_a_token_moves_back_to_its_beginning(byte_tokenizer):
    # " total" is one token of the rollout, and the new text leaves it after " to".
    wrong, new = "so the total is 5050", "so the to be exact: no. The sum is 5000, as the last term is missing."
    total = encode(byte_tokenizer, " total")
    assert len(total) == 1
    spliced = run(byte_tokenizer, new, wrong)
    assert spliced.prefix == "so the"
    assert byte_tokenizer.decode(spliced.ids[:-1]) == new


def test_a_character_of_several_tokens_is_never_cut(byte_tokenizer):
    wrong = "x \u2295 y is one thing and so we go on"
    ids = encode(byte_tokenizer, wrong)
    assert len(encode(byte_tokenizer, "\u2295")) > 1
    new = "x \u2296 no, wait: the sign must be another, so everything changes here."  # shares its first two bytes
    spliced = run(byte_tokenizer, new, ids, min_prefix_share=0.0)
    assert spliced.prefix in ("x ", "x")
    assert byte_tokenizer.decode(spliced.ids[:-1]) == new


@pytest.mark.parametrize("front, back", [("", ""), ("\n", ""), ("", "\n"), ("\n", "\n")])
def test_a_newline_at_either_end_is_forgiven(byte_tokenizer, front, back):
    assert run(byte_tokenizer, front + GOOD + back).text == GOOD


def test_a_rollout_that_begins_with_a_newline_gets_it_back(byte_tokenizer):
    assert run(byte_tokenizer, GOOD, "\n" + WRONG).text == "\n" + GOOD


def test_a_response_without_eos_is_spliced_alike(byte_tokenizer):
    assert run(byte_tokenizer, GOOD, encode(byte_tokenizer, WRONG)) == run(byte_tokenizer, GOOD)


def test_an_edit_before_the_splice_point_is_rejected(byte_tokenizer):
    assert reason(byte_tokenizer, GOOD.replace("28*3", "28 * 3")) == "not_verbatim"
    assert reason(byte_tokenizer, GOOD.replace("Step 1", "step 1")) == "not_verbatim"


def test_a_correction_without_a_reflection_is_an_edited_copy(byte_tokenizer):
    assert reason(byte_tokenizer, "Step 1: 28*3=84\n" + CORRECTION) == "not_verbatim"


LONG = (
    "We note that the bus travels 60 miles per hour for the first leg of the trip. "
    "The second leg takes three hours at the lower speed of 45 miles per hour. "
    "Adding up, the whole distance is 120 plus 135 miles, which makes \\boxed{245}."
)


@pytest.mark.parametrize(
    "new",
    [
        LONG.replace("The second leg takes three hours at the lower speed of 45 miles per hour. ", ""),
        LONG.replace("the bus travels", "our bus travels") + " Wait, 120 plus 135 is 255, so \\boxed{255}.",
        LONG.replace("245", "255"),
        LONG.replace("45 miles", "40 miles").replace("135", "120").replace("245", "240"),
    ],
    ids=["a sentence left out", "a word changed", "the answer changed", "a number changed and carried on"],
)
def test_edited_copies_are_rejected_whatever_their_edit(byte_tokenizer, new):
    assert reason(byte_tokenizer, new, LONG) == "not_verbatim"


def test_white_space_in_front_of_the_rollout_is_its_own(byte_tokenizer):
    assert run(byte_tokenizer, GOOD, " " + WRONG).text == " " + GOOD


def test_an_answer_that_starts_over_has_no_prefix(byte_tokenizer):
    new = "Let us begin anew and take care this time. " + CORRECTION
    assert reason(byte_tokenizer, new) == "prefix_too_short"
    assert run(byte_tokenizer, new, min_prefix_tokens=0).prefix_length == 0
    assert reason(byte_tokenizer, GOOD, min_prefix_tokens=400) == "prefix_too_short"


@pytest.mark.parametrize("behind", ["", "\n", "  \n\n", ".", "\n```"])
def test_a_copy_of_the_whole_rollout_with_nothing_behind_it_is_rejected(byte_tokenizer, behind):
    assert reason(byte_tokenizer, WRONG + behind) == "splice_at_end"


@pytest.mark.parametrize("behind", ["", "\n", " \n\n"])
def test_an_error_in_the_last_line_is_reflected_on_behind_the_whole_rollout(byte_tokenizer, behind):
    own = encode(byte_tokenizer, WRONG + behind)
    new = "\n\nWait, 55+7 is 62, but 84-39 is 45, so the result is \\boxed{52}"
    spliced = run(byte_tokenizer, WRONG + new, [*own, byte_tokenizer.eos_token_id], require_reflection=True)
    assert spliced.text == WRONG + new and spliced.prefix.rstrip() == WRONG
    assert spliced.ids[: spliced.prefix_length] == own[: spliced.prefix_length]
    assert spliced.prefix_length >= len(encode(byte_tokenizer, WRONG)) - 1


def test_an_answer_that_stops_inside_the_copy_has_nothing_new(byte_tokenizer):
    assert reason(byte_tokenizer, KEPT) == "nothing_new"


@pytest.mark.parametrize(
    "phrase",
    [
        "The reference solution says 45.",
        "As the correct solution shows, it is 45.",
        "Wait, looking at the correct solution, this is 45.",
        "The solution provided uses 45 here.",
        "Compare my wrong attempt.",
    ],
)
def test_an_answer_that_speaks_of_what_it_was_shown_is_rejected(byte_tokenizer, phrase):
    assert reason(byte_tokenizer, KEPT + phrase + "\n" + CORRECTION) == "leak"


def test_ordinary_words_are_no_leak(byte_tokenizer):
    for prose in (
        "Wait, the correct answer to this step is 45, a better solution.",
        "But x = -3 is the wrong solution, since lengths are positive.",
        "The other solution of the equation is x = 2.",
        "A sample response to the survey contains 3 of the provided answer choices.",
    ):
        text = KEPT + prose + "\n" + CORRECTION
        assert run(byte_tokenizer, text).text == text


def test_the_longest_allowed_result_counts_eos(byte_tokenizer):
    length = len(run(byte_tokenizer, GOOD).ids)
    assert len(run(byte_tokenizer, GOOD, max_length=length).ids) == length
    assert reason(byte_tokenizer, GOOD, max_length=length - 1) == "too_long"


def test_a_tokenizer_that_cannot_round_trip_is_noticed(byte_tokenizer):
    class Lossy:
        all_special_ids = byte_tokenizer.all_special_ids
        eos_token_id = byte_tokenizer.eos_token_id
        decode = staticmethod(byte_tokenizer.decode)

        @staticmethod
        def encode(text, **options):
            return byte_tokenizer.encode(text.replace(" ", ""), **options)

    assert reason(Lossy, GOOD, encode(byte_tokenizer, WRONG)) == "tokenizer_roundtrip"


def test_the_full_reconstruction_keeps_no_prefix(byte_tokenizer):
    spliced = run(byte_tokenizer, CORRECTION, keep_prefix=False)
    assert spliced.prefix_length == 0 and spliced.text == CORRECTION
    assert spliced.ids == [*encode(byte_tokenizer, CORRECTION), byte_tokenizer.eos_token_id]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_for_any_rollout_and_any_cut_the_kept_prefix_is_the_rollouts_own(byte_tokenizer, data):
    """Any ids a policy could have sampled, canonical or not, whose text is well-formed."""
    whole = [token for token in range(2, len(byte_tokenizer)) if "\ufffd" not in byte_tokenizer.decode([token])]
    of_several_tokens = st.sampled_from("\u2295\u211d\u00e9\U0001f642").map(lambda c: encode(byte_tokenizer, c))
    chunk = st.sampled_from(whole).map(lambda token: [token]) | of_several_tokens
    ids = [token for tokens in data.draw(st.lists(chunk, min_size=12, max_size=40)) for token in tokens]
    _, text = response_text(ids, byte_tokenizer)
    assume(len(text) > 12)
    cut = data.draw(st.integers(1, len(text) - 8))
    new = text[:cut] + " Hmm, wait. I should look at that again; it cannot be so. We get 7."
    try:
        spliced = splice(ids, new, byte_tokenizer, max_length=500, min_prefix_tokens=0)
    except ConstructionError as error:
        # Cut in the middle of the last word, or random text that happens to read like the reflection.
        assert error.reason in ("splice_at_end", "not_verbatim")
        return
    kept = spliced.ids[: spliced.prefix_length]
    assert kept == ids[: spliced.prefix_length]
    assert byte_tokenizer.decode(kept) == spliced.prefix
    assert new.startswith(spliced.prefix) and text.startswith(spliced.prefix)
    assert byte_tokenizer.decode(spliced.ids[:-1]) == new == spliced.text
    longer = byte_tokenizer.decode(ids[: spliced.prefix_length + 1])
    assert "\ufffd" in longer or not new.startswith(longer), "one more own token would have agreed too"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Wait.\n\nA\nB", ("Wait.\n\n", "A\nB")),
        ("\nWait.\nA\nB", ("\nWait.\n", "A\nB")),
        ("Wait, no. Then A.", ("Wait, no. ", "Then A.")),
        ("Wait", ("Wait", "")),
    ],
)
def test_the_reflection_is_the_first_paragraph_line_or_sentence(text, parts):
    assert split_reflection(text) == parts


@given(
    head=st.text("ab", max_size=TRACKING_WINDOW),
    old=st.text("ab", max_size=300),
    shared=st.text("abc", max_size=COPIED_BLOCK + 4),
    places=st.tuples(st.integers(0, 200), st.integers(0, 300)),
)
def test_a_shared_block_is_found_wherever_it_stands(head, old, shared, places):
    head = (head[: places[0]] + shared + head[places[0] :])[:TRACKING_WINDOW]
    old = old[: places[1]] + shared + old[places[1] :]
    blocks = (head[i : i + COPIED_BLOCK] for i in range(len(head) - COPIED_BLOCK + 1))
    assert _share_block(head, old) == any(block in old for block in blocks)
