"""Reading the actor's tagged answer as real models write it."""

import pytest

from tapo.core.reconstruction import Construction, ConstructionError, parse_construction, visible_answer

TEXT = "Step 1: 2\nWait, no."
ANSWER = f"<analysis>Step 2 is wrong.</analysis>\n<reconstruction>\n{TEXT}\n</reconstruction>"
DRAFT = "I write <analysis> and </analysis>, then <reconstruction>a draft</reconstruction>."


@pytest.mark.parametrize(
    "text",
    [
        f"```xml\n{ANSWER}\n```",
        f"```\n<analysis>Step 2 is wrong.</analysis>\n```\n\n```\n<reconstruction>\n{TEXT}\n</reconstruction>\n```",
        f"**<analysis>**Step 2 is wrong.**</analysis>**\n\n**<reconstruction>**\n{TEXT}\n**</reconstruction>**",
        f"`<analysis>`Step 2 is wrong.`</analysis>`\n`<reconstruction>`\n{TEXT}\n`</reconstruction>`",
        f"\n\n{ANSWER.replace('</analysis>', '</analysis>' + 3 * chr(10))}\n\n",
        f"Sure! I use <analysis> and <reconstruction> tags.\n\n{ANSWER}\n\nI hope this helps.",
        ANSWER.replace("</analysis>", "</analysis>\n\n---\n\n### Reconstruction\n"),
        ANSWER.replace("</analysis>", "</analysis>\n\n**Reconstruction:**\n"),
        ANSWER.replace("analysis>", "Analysis>").replace("reconstruction>", "RECONSTRUCTION>"),
    ],
    ids=["fence", "two fences", "bold", "code", "blank lines", "prose", "heading", "bold heading", "capitals"],
)
def test_habits_of_writing_tags_do_not_change_what_is_read(text):
    assert parse_construction(text).reconstruction == TEXT


@pytest.mark.parametrize(
    "quoted",
    [
        "I write the rest between <reconstruction> and </reconstruction>.",
        "This stands between <analysis> and </analysis>.",
        DRAFT,
    ],
)
def test_tags_quoted_in_the_analysis_are_part_of_it(quoted):
    assert parse_construction(ANSWER.replace("Step 2 is wrong.", quoted)) == Construction(quoted, TEXT)


@pytest.mark.parametrize("thinking", [f"<think>\n{ANSWER}\n{DRAFT}\n</think>\n", f"{DRAFT}</think>", "</thinking>\n"])
def test_an_answer_begins_behind_its_thinking(thinking):
    assert parse_construction(thinking + ANSWER) == Construction("Step 2 is wrong.", TEXT, thought=True)
    assert visible_answer(thinking + ANSWER).strip() == ANSWER


def test_thinking_of_the_copied_rollout_stays_in_the_reconstruction():
    own = "<think>\n28*3 is 84.\n</think>\n84"
    construction = parse_construction(ANSWER.replace(TEXT, own))
    assert construction == Construction("Step 2 is wrong.", own, thought=False)
    assert parse_construction(f"<think>{DRAFT}</think>{ANSWER.replace(TEXT, own)}").reconstruction == own


UNCLOSED = ANSWER.removesuffix("\n</reconstruction>")


def test_an_answer_that_the_actor_ended_may_lack_its_last_tag():
    found = parse_construction(UNCLOSED, ended=True)
    assert found == Construction("Step 2 is wrong.", TEXT, closed=False)
    assert parse_construction(ANSWER, ended=True) == Construction("Step 2 is wrong.", TEXT)


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        (UNCLOSED, False),
        (f"```xml\n{UNCLOSED}\n```\n", True),
        (UNCLOSED.replace("</analysis>", ""), True),
        (UNCLOSED + "\n<reconstruction>", True),
        (UNCLOSED.removesuffix(TEXT), True),
    ],
    ids=["cut off", "fence", "analysis open", "another tag", "blank"],
)
def test_what_was_cut_off_or_is_more_than_the_last_tag_short_is_no_answer(text, ended):
    with pytest.raises(ConstructionError, match="bad_format"):
        parse_construction(text, ended=ended)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ANSWER + ANSWER, "repeated"),
        (ANSWER[:-17], "</reconstruction> is missing"),
        (ANSWER.removeprefix("<analysis>"), "<analysis> is missing"),
        (ANSWER.replace(TEXT, DRAFT), "once behind the analysis"),
        (f"<think>{ANSWER}</think>\nDone.", None),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    if message is None:  # the only answer stands in the thinking: better than none
        assert parse_construction(text).reconstruction == TEXT
        return
    with pytest.raises(ConstructionError, match=message):
        parse_construction(text)
