"""The prompt of a problem: the question and one instruction, in one user message.

No system prompt, and nothing about thinking: that is the chat template's matter
(`data.apply_chat_template_kwargs.enable_thinking=false`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

BOXED_INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
"""Follows the question on a line of its own, in training and evaluation alike, unless another one is chosen."""
METADATA_KEY = b"tapo.instruction"
"""Where a parquet file keeps an instruction other than `BOXED_INSTRUCTION`."""


def instruction_of(text: str) -> str:
    """An instruction as the command line gives it; `none` is the empty one."""
    return "" if text.strip() == "none" else text.strip()


def prompt_of(question: str, instruction: str = BOXED_INSTRUCTION) -> list[dict[str, str]]:
    """The chat messages that ask a question; with the empty instruction, the question alone."""
    return [{"role": "user", "content": f"{question}\n{instruction}" if instruction else question}]


def question_of(prompt: Sequence[Mapping[str, Any]], instruction: str = BOXED_INSTRUCTION) -> str:
    """The text of a prompt's last user message, without the instruction; ValueError if the prompt is no list of
    messages, or none of them is a user's text."""
    for message in reversed(prompt if isinstance(prompt, Sequence) else []):
        if isinstance(message, Mapping) and message.get("role") == "user" and isinstance(message.get("content"), str):
            return message["content"].rstrip().removesuffix(instruction).strip()
    raise ValueError(f"prompt = {prompt!r} cannot work: needs chat messages, one of them the user's text")
