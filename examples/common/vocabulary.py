"""The words that every example's tokenizer has, and their order."""

from __future__ import annotations

from collections.abc import Iterable

PAD, EOS, UNKNOWN = "<|pad|>", "<|end|>", "<|unknown|>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
SPECIAL = [PAD, EOS, UNKNOWN, *ROLES.values()]
TAGS = ["<analysis>", "</analysis>", "<reconstruction>", "</reconstruction>"]
PROMPT = ["Query: ", "Wrong: ", "Correct: ", "Rewrite."]
"""Of `construction_prompt.txt`."""
CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n", "\t"]


def words(phrases: Iterable[str]) -> list[str]:
    """All words but the special ones in the order of their ids, given a task's phrases."""
    return list(dict.fromkeys([*TAGS, *phrases, *PROMPT, *CHARACTERS]))
