import pytest

from tapo.core.prompts import (
    CONSTRUCTION_PROMPT,
    FULL_RECONSTRUCTION_PROMPT,
    check_template,
    construction_messages,
    render_prompt,
)


@pytest.mark.parametrize("template", [CONSTRUCTION_PROMPT, FULL_RECONSTRUCTION_PROMPT])
def test_the_shipped_prompts_hold_each_placeholder_once_and_name_the_tags(template):
    assert check_template(template) == template
    for tag in ("<analysis>", "</analysis>", "<reconstruction>", "</reconstruction>"):
        assert tag in template


def test_braces_and_placeholders_inside_the_texts_stay_as_they_are():
    rendered = render_prompt("{query}|{wrong}|{correct}|{x}", query="{wrong}", wrong=r"\boxed{1}", correct="{query}")
    assert rendered == r"{wrong}|\boxed{1}|{query}|{x}"


def test_system_messages_are_kept_before_the_prompt():
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    assert construction_messages(messages, wrong="W", correct="C", template="{query}{wrong}{correct}") == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "QWC"},
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "a"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    ],
)
def test_a_query_of_several_turns_is_refused(messages):
    with pytest.raises(ValueError, match="one user message"):
        construction_messages(messages, wrong="W", correct="C")


def test_a_query_that_is_not_text_is_refused():
    with pytest.raises(ValueError, match="content of type list"):
        construction_messages([{"role": "user", "content": [{"type": "image"}]}], wrong="W", correct="C")
