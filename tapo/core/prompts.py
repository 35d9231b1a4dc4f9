"""The construction prompt: what the actor is asked when it rewrites one of its own wrong rollouts."""

import re
from collections.abc import Mapping, Sequence

PLACEHOLDERS = ("query", "wrong", "correct")

_TASK = """You will correct your own work. Below are a problem, an attempt of yours that reached a wrong answer, and \
a solution that reaches the right one.

# Problem
{query}

# Your attempt (wrong)
{wrong}

# A solution that is right
{correct}

"""

_ANALYSIS = """First find the first critical error of the attempt: the earliest step from which it can no longer \
succeed. Quote it and say briefly why it is wrong. Write this between <analysis> and </analysis>.

"""

CONSTRUCTION_PROMPT = (
    _TASK
    + _ANALYSIS
    + """Then write between <reconstruction> and </reconstruction>:
1. The attempt, copied character for character from its beginning up to and including the first critical error. Do not \
mend, shorten or reformat anything in this part.
2. Directly after it, one or a few sentences in which you notice the error yourself and say what is wrong, the way \
you would while thinking aloud (for example "Wait, that is not right: ...").
3. The corrected reasoning from there on to the final answer, in the style of the attempt, with the answer written as \
the problem asks.

The text between the reconstruction tags must read as one train of thought about the problem alone: never mention \
another solution, an attempt, or these instructions. Write nothing outside the two pairs of tags."""
)
"""Asks for a diagnosis and a micro-reflective trajectory (TAPO, section 3.3: own prefix, reflection, correction)."""

FULL_RECONSTRUCTION_PROMPT = (
    _TASK
    + _ANALYSIS
    + """Then write between <reconstruction> and </reconstruction> a complete corrected solution of the problem, from \
its first line to the final answer, in the style of the attempt, with the answer written as the problem asks. Do not \
copy the erroneous part.

The text between the reconstruction tags must read as one train of thought about the problem alone: never mention \
another solution, an attempt, or these instructions. Write nothing outside the two pairs of tags."""
)
"""The ablation "full reconstruction": no prefix is kept, the whole solution is written anew."""

_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


def check_template(template: str) -> str:
    """Return `template` if it holds each placeholder exactly once.

    Raises:
        ValueError: one of {query}, {wrong}, {correct} is missing or repeated.
    """
    found = _PLACEHOLDER.findall(template)
    if sorted(found) != sorted(PLACEHOLDERS):
        wanted = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"a construction prompt needs each of {wanted} exactly once, got {found}")
    return template


def render_prompt(template: str, *, query: str, wrong: str, correct: str) -> str:
    """Fill the placeholders in one pass, so that braces in the texts or elsewhere in the template stay as they are."""
    values = {"query": query, "wrong": wrong, "correct": correct}
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def construction_messages(
    messages: Sequence[Mapping[str, str]], *, wrong: str, correct: str, template: str = CONSTRUCTION_PROMPT
) -> list[dict[str, str]]:
    """The chat that asks for a construction: the query's own system messages, then the rendered prompt.

    Args:
        messages: the query as chat messages; `{query}` becomes the content of the only user message.
        wrong, correct: texts of the wrong rollout and of its correct sibling.

    Raises:
        ValueError: the query is not one text-only user turn, with or without system messages before it.
    """
    *head, last = [dict(message) for message in messages] or [{}]
    if last.get("role") != "user" or any(message.get("role") != "system" for message in head):
        roles = [message.get("role") for message in messages]
        raise ValueError(f"a construction needs a query of system messages and one user message, got roles {roles}")
    if not isinstance(last.get("content"), str):
        raise ValueError(f"a construction needs a text query, got content of type {type(last.get('content')).__name__}")
    prompt = render_prompt(template, query=last["content"], wrong=wrong, correct=correct)
    return [*head, {"role": "user", "content": prompt}]
