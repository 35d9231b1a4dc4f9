"""What tells a reflection at the splice point from an edited copy, a solution that starts over and a silent jump."""

import pytest

from tapo.core.copies import follows
from tapo.core.phrases import REFLECTIONS, load_detector
from tapo.core.reconstruction import ConstructionError, splice
from tapo.core.reflection import opening_reflection
from tapo.evaluation.splicer_agreement import Characters

WRONG = (
    "To solve the problem, we first need to know how many marbles she buys. She wants 84 and has 39, so she needs "
    "84 - 39 = 55 more.\n\nNext, we multiply this by the price of each marble, which is $3$ dollars, to get the total "
    "cost of $165$ dollars.\n\nThe answer is \\boxed{165}."
)
KEPT = WRONG[: WRONG.index("\n\nNext")]
REST = WRONG[len(KEPT) :].replace("165", "135")


def run(new, wrong=WRONG, **options):
    tokenizer = Characters()
    return splice(tokenizer.encode(wrong), new, tokenizer, max_length=5000, **options)


def reason(new, wrong=WRONG, **options):
    with pytest.raises(ConstructionError) as caught:
        run(new, wrong, **options)
    return caught.value.reason


@pytest.mark.parametrize(
    "reflection",
    [
        " Wait, 84 - 39 is 45, not 55. Let me fix that.",
        " Hmm. It is 45.",
        "\n\nThat's ten too many: 39 + 55 is 94, so I made an error.",
        " No!",
        "\n\nOh, 39 plus 55 exceeds 84. It should be 45.",
        " 等等，84 - 39 应该是 45。",
        " Moment, das ist falsch: 84 - 39 = 45.",
        " Attends, c'est 45.",
        " いや、45です。",
        ' Wait, "Next, we multiply this by the price of each marble" must use 45, since 84 - 39 = 45.',
        "\n\nCheck: 39 + 55 = 94. That is wrong, it should be 45.",
    ],
)
def test_a_reflection_may_go_on_in_the_rollouts_own_words(reflection):
    spliced = run(KEPT + reflection + REST, require_reflection=True)
    assert spliced.prefix.rstrip() == KEPT and spliced.has_reflection
    assert spliced.text == KEPT + reflection + REST


def test_a_recognised_reflection_has_as_many_tokens_as_its_segment_and_another_text_none():
    spliced = run(KEPT + " Wait, 84 - 39 is 45, not 55." + REST)
    assert spliced.reflection == " Wait, 84 - 39 is 45, not 55.\n\n"
    assert spliced.reflection_length == len(spliced.reflection)  # a token is a character here
    silent = run("The total is 135 dollars.\n\nThat is all.", min_prefix_tokens=0)
    assert (silent.has_reflection, silent.reflection_length) == (False, 0) and silent.reflection
    assert run(KEPT + " Wait, it is 45." + REST, keep_prefix=False).reflection_length == 0


def test_a_reflection_ends_at_a_token_boundary_of_the_trajectory(byte_tokenizer):
    wrong = byte_tokenizer.encode("84-39=55\nso 55+7=62", add_special_tokens=False)
    new = "84-39=55\nWait, 84-39 is not 55. Therefore 84-39=45"
    spliced = splice(wrong, new, byte_tokenizer, max_length=100)
    assert spliced.reflection == "Wait, 84-39 is not 55. "
    # The blank behind the sentence belongs to the token of the next word.
    end = spliced.prefix_length + spliced.reflection_length
    assert byte_tokenizer.decode(spliced.ids[spliced.prefix_length : end]) == "Wait, 84-39 is not 55."
    assert byte_tokenizer.decode(spliced.ids[end:]).startswith(" Therefore")


def test_a_reflection_in_the_middle_of_a_line_is_one():
    new = KEPT.removesuffix(" more.") + "... no wait, 45 more." + REST
    assert run(new, require_reflection=True).prefix == KEPT.removesuffix(" more.")


@pytest.mark.parametrize(
    "inserted",
    [
        " These marbles are all of the same kind.",
        "\n\nShe has 39 marbles in a box already.",
        " So she needs 45.",
    ],
)
def test_a_sentence_inserted_without_a_word_of_doubt_is_an_edit(inserted):
    assert reason(KEPT + inserted + REST) == "not_verbatim"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("55", "45"),
        ("$3$ dollars", "3 dollars"),
        ("marbles", "balls"),
        ("\n\n", "\n"),
        (" - ", " \u2212 "),
    ],
)
def test_an_edit_is_found_whatever_reflection_comes_behind_it(old, new):
    edited = WRONG.replace(old, new) + " Wait, that is not right, 84 - 39 is 45. So \\boxed{135}."
    assert reason(edited) == "not_verbatim"


def test_a_number_changed_in_place_is_an_edit_though_a_reflection_follows_at_once():
    assert reason(KEPT.replace("55", "45") + " Wait, is that right? Yes." + REST) == "not_verbatim"


def test_a_reflection_that_the_rollout_made_itself_is_none_of_the_constructions():
    wrong = KEPT + " Let me double-check: 39 + 55 = 84. Yes." + REST
    edited = wrong.replace("84 - 39 = 55 more.", "84 - 39 = 45 more.").replace("39 + 55", "39 + 45")
    assert reason(edited, wrong) == "not_verbatim"


def test_a_denial_put_into_a_sentence_of_the_rollout_is_an_edit():
    wrong = "Note that 1 is a prime number, so we include it in the list. The sum of the list is 1 + 2 + 3 + 5 = 11."
    edited = wrong.replace("is a prime", "isn't a prime").replace("include it in", "exclude it from")
    assert reason(edited, wrong) == "not_verbatim"


OVER = "To solve this, note that 45 marbles are missing. At 3 dollars each they cost 135 dollars. \\boxed{135}"


def test_a_solution_that_starts_over_is_told_by_the_little_it_keeps():
    assert reason(OVER) == "prefix_too_short"
    assert reason(OVER.replace("note that", "it should be clear that"), WRONG) == "prefix_too_short"
    assert run(OVER, min_prefix_share=0.0).has_reflection is False
    assert run(OVER, min_prefix_tokens=0).has_reflection is False


def test_a_first_word_in_common_is_no_text_to_reflect_on():
    wrong = "Let me think step by step. " + WRONG
    assert reason("Let me reconsider the problem. " + OVER, wrong) == "prefix_too_short"


def test_an_early_error_may_be_reflected_on_however_long_the_attempt():
    early = "Since 84 - 39 = 55, she needs 55."
    new = early + " Wait, 84 - 39 = 45." + OVER
    assert run(new, early + 40 * WRONG, min_prefix_share=0.9, require_reflection=True).prefix == early


JUMP = KEPT + " The 45 missing marbles cost 3 dollars apiece, 135 dollars altogether.\n\\boxed{135}"


def test_a_correction_without_a_notice_is_told_and_dropped_where_one_is_required():
    assert run(JUMP).has_reflection is False and run(JUMP).prefix == KEPT
    assert reason(JUMP, require_reflection=True) == "no_reflection"
    assert reason(JUMP.replace("The 45", "In the correct solution, the 45"), require_reflection=True) == "leak"


def test_a_full_reconstruction_needs_no_reflection():
    spliced = run(OVER, keep_prefix=False, require_reflection=True)
    assert spliced.text == OVER and not spliced.has_reflection


def test_a_reconstruction_in_a_code_fence_is_read_without_it():
    new = KEPT + " Wait, it is 45." + REST
    assert run(f"```\n{new}\n```").text == new
    fenced = f"```\n{WRONG}\n```"
    spliced = run(fenced + "\nWait, 84 - 39 is 45, so \\boxed{135}.", fenced)
    assert spliced.prefix == fenced + "\n" or spliced.prefix == fenced


def test_every_phrase_of_the_detector_behind_dsr_and_err_counts_at_a_splice_point():
    phrases = [phrase for _, phrase in load_detector(REFLECTIONS).phrases]
    assert len(phrases) > 80
    for phrase in phrases:
        assert opening_reflection(KEPT, f" {phrase.capitalize()} 84 - 39 is 45.", REST), phrase


def test_a_reflection_far_behind_the_splice_point_does_not_open_the_new_text():
    filler = "She counts what is there and what is not, all of it in her own good time and with much patience. "
    assert opening_reflection(KEPT, filler + "Wait, no.", REST)
    assert opening_reflection(KEPT, 2 * filler + "Wait, no.", REST) is None


def test_words_follow_a_text_whatever_its_numbers():
    assert follows("so she pays 45 dollars", "so she pays 55 dollars and leaves")
    assert follows("45.", "55. Next")
    assert not follows("That is ten too many. ", "so she pays 55 dollars and leaves")
    assert not follows("...", "... and so on")


STEPS = "Step 1: 97+16=78\nStep 2: 78-25=53\n\\boxed{53}"


@pytest.mark.parametrize(
    "new",
    [
        "Step 1: 9-4=2\nWait, 9-4 is not 2.\nStep 1: 97+16=113\nStep 2: 113-25=88\n\\boxed{88}",
        "Step 1: Wait, 97+16 is not 78.\nStep 1: 97+16=113\nStep 2: 113-25=88\n\\boxed{88}",
    ],
    ids=["an error that the rollout never made", "nothing stated"],
)
def test_a_reflection_needs_a_statement_of_the_rollouts_own_to_be_about(new):
    assert reason(new, STEPS) == "prefix_too_short" or reason(new, STEPS) == "not_verbatim"


def test_a_first_step_is_enough_to_reflect_on():
    new = "Step 1: 97+16=78\nWait, 97+16 is not 78.\nStep 1: 97+16=113\nStep 2: 113-25=88\n\\boxed{88}"
    assert run(new, STEPS).prefix == "Step 1: 97+16=78\n"
