"""The construction prompt: what the actor is asked when it rewrites one of its own wrong rollouts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

PLACEHOLDERS = ("query", "wrong", "correct")

_TEXTS = yaml.safe_load((Path(__file__).parent / "data" / "prompts.yaml").read_text(encoding="utf-8"))

CONSTRUCTION_PROMPT: str = _TEXTS["task"] + _TEXTS["analysis"] + _TEXTS["micro_reflective"]
"""Asks for a diagnosis and a micro-reflective trajectory (TAPO, section 3.3: own prefix, reflection, correction)."""

FULL_RECONSTRUCTION_PROMPT: str = _TEXTS["task"] + _TEXTS["analysis"] + _TEXTS["full"]
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
