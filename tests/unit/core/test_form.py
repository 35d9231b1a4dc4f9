"""Answers that teach a form of construction, out of answers of another one."""

import pytest

from tapo.core.answer import parse_construction, parse_opening, quoted
from tapo.core.form import PAPER_FORM, Form, taught_answer
from tapo.core.funnel import ConstructionError
from tapo.core.prompts import CONSTRUCTION_PROMPT
from tests.stand_ins.texts import ANSWER, RECONSTRUCTION, WRONG

KEPT = "Step 1: 28*3=84\nStep 2: 84-39=55\n"
REFLECTION = "Wait, 84-39 is not 55.\n"
CORRECTION = "Step 2: 84-39=45\n\\boxed{45}"
QUOTE = "<quote>Step 2: 84-39=55</quote>"


def taught(answer, form, **segments):
    whole = {"wrong": WRONG, "prefix": KEPT, "reflection": REFLECTION, "correction": CORRECTION}
    return taught_answer(answer, form=form, **(whole | segments))


def test_the_papers_form_is_taught_by_the_answer_as_it_was_given():
    assert taught(f"<think>hm</think>{ANSWER}\n", PAPER_FORM) == ANSWER
    assert PAPER_FORM.prompt == CONSTRUCTION_PROMPT


def test_a_quote_is_added_to_an_analysis_that_has_none_and_left_alone_where_it_means_the_error():
    answer = taught(ANSWER, Form("anchored"))
    assert answer == f"<analysis>Step 2.\n{QUOTE}</analysis>\n<reconstruction>{RECONSTRUCTION}</reconstruction>"
    last_line = ANSWER.replace("Step 2.</analysis>", "Look:\nStep 2: 84-39=55\n</analysis>")
    assert taught(last_line, Form("anchored")).startswith(last_line.partition("<reconstruction>")[0])
    assert taught(answer, Form("anchored")) == answer


def test_the_policys_own_correction_is_taught_by_an_answer_that_ends_behind_the_reflection():
    answer = taught(ANSWER, Form("verbatim", "own"))
    assert answer == f"<analysis>Step 2.</analysis>\n<reconstruction>{KEPT}{REFLECTION}</reconstruction>"
    assert parse_construction(answer).newline
    spaced = taught(ANSWER, Form("verbatim", "own"), reflection="Wait, 84-39 is not 55. ")
    assert spaced.endswith("is not 55.</reconstruction>")


def test_an_error_that_no_quote_means_alone_teaches_no_anchored_answer():
    twice = "x = 1\nx = 1\n"
    assert taught(ANSWER, Form("anchored"), wrong=twice, prefix="x = 1\n") is None


@pytest.mark.parametrize("form", [Form(c, k) for c in ("verbatim", "anchored") for k in ("guided", "own")])
def test_every_forms_prompt_asks_for_what_the_form_holds(form):
    assert ("<quote>" in form.prompt) is form.anchored
    assert ("do not give the answer" in form.prompt) is form.own
    assert all(form.prompt.count(name) == 1 for name in ("{query}", "{wrong}", "{correct}"))


def test_a_passage_is_quoted_between_tags_or_on_the_analysis_last_line():
    assert quoted("The sum is wrong.\n<quote> 2+2=5 </quote> It is 4.") == "2+2=5"
    assert quoted("The sum is wrong:\n\n  2+2=5  \n") == "2+2=5"
    assert quoted("<quote>a</quote>, that is <quote>a</quote>") == "a"
    assert quoted("  ") == ""
    with pytest.raises(ConstructionError, match="bad_format: 2 passages are quoted"):
        quoted("<quote>a</quote><quote>b</quote>")


def test_an_opening_ends_with_its_tag_whatever_was_decoded_behind_it():
    head = f"<analysis>Wrong. {QUOTE}</analysis>\n\n<reconstruction>"
    assert parse_opening(f"<think><reconstruction></think>{head}\nStep 1") == (
        f"<think><reconstruction></think>{head}",
        "Step 2: 84-39=55",
    )
    for broken in (head.replace("<analysis>", ""), head.replace("<reconstruction>", ""), "nothing"):
        with pytest.raises(ConstructionError, match="bad_format"):
            parse_opening(broken)
