"""The construction prompt: what the actor is asked when it rewrites one of its own wrong rollouts."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

PLACEHOLDERS = ("query", "wrong", "correct")

_TEXTS = yaml.safe_load((Path(__file__).parent / "data" / "prompts.yaml").read_text(encoding="utf-8"))

CONSTRUCTION_PROMPT: str = _TEXTS["task"] + _TEXTS["analysis"] + _TEXTS["micro_reflective"]
"""Asks for a diagnosis and a micro-reflective trajectory (TAPO, section 3.3: own prefix, reflection, correction)."""

FULL_RECONSTRUCTION_PROMPT: str = _TEXTS["task"] + _TEXTS["analysis"] + _TEXTS["full"]
"""The ablation "full reconstruction": no prefix is kept, the whole solution is written anew."""


def construction_prompt(*, anchored: bool = False, own: bool = False) -> str:
    """The prompt of a form of construction (`tapo.core.form`); of the paper's, `CONSTRUCTION_PROMPT`."""
    analysis, write = "quoting_analysis" if anchored else "analysis", "own" if own else "micro_reflective"
    return _TEXTS["task"] + _TEXTS[analysis] + _TEXTS[write]


def check_template(
    template: str, placeholders: Sequence[str] = PLACEHOLDERS, prompt: str = "a construction prompt"
) -> str:
    """Return `template` if it holds each placeholder exactly once.

    Args:
        prompt: what the template is called in the message.

    Raises:
        ValueError: a placeholder is missing or repeated.
    """
    found = _pattern(placeholders).findall(template)
    if sorted(found) != sorted(placeholders):
        wanted = ", ".join(f"{{{name}}}" for name in placeholders)
        raise ValueError(f"{prompt} needs each of {wanted} exactly once, got {found}")
    return template


def render_prompt(template: str, **values: str) -> str:
    """Fill the placeholders in one pass, so that braces in the texts or elsewhere in the template stay as they are."""
    return _pattern(tuple(values)).sub(lambda match: values[match.group(1)], template)


def _pattern(placeholders: Sequence[str]) -> re.Pattern[str]:
    return re.compile(r"\{(" + "|".join(placeholders) + r")\}")


def construction_messages(
    messages: Sequence[Mapping[str, str]], *, wrong: str, correct: str, template: str = CONSTRUCTION_PROMPT
) -> list[dict[str, str]]:
    """The chat that asks for a construction: the query's own system messages, then the rendered prompt.

    Args:
        messages: the query as chat messages; `{query}` becomes the content of the only user message.
        wrong, correct: texts of the wrong rollout and of its correct sibling.

    Raises:
        ValueError: as `rewritten_query`.
    """
    return rewritten_query(
        messages, lambda query: render_prompt(template, query=query, wrong=wrong, correct=correct), "a construction"
    )


def rewritten_query(
    messages: Sequence[Mapping[str, str]], rewrite: Callable[[str], str], purpose: str
) -> list[dict[str, str]]:
    """The chat of a query with another text in its user message.

    Args:
        purpose: what the chat is needed for, in the message.

    Raises:
        ValueError: the query is not one text-only user turn, with or without system messages before it.
    """
    *head, last = [dict(message) for message in messages] or [{}]
    if last.get("role") != "user" or any(message.get("role") != "system" for message in head):
        roles = [message.get("role") for message in messages]
        raise ValueError(f"{purpose} needs a query of system messages and one user message, got roles {roles}")
    if not isinstance(last.get("content"), str):
        raise ValueError(f"{purpose} needs a text query, got content of type {type(last.get('content')).__name__}")
    return [*head, {"role": "user", "content": rewrite(last["content"])}]
