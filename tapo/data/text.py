"""Problems as text: the prompt that asks one, and tokens that agree in two copies however they were typeset.

A prompt is the question and one instruction, in one user message: no system prompt, and nothing about thinking, which
is the chat template's matter (`data.apply_chat_template_kwargs.enable_thinking=false`).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

BOXED_INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
"""Follows the question on a line of its own, in training and evaluation alike, unless another one is chosen."""
METADATA_KEY = b"tapo.instruction"
"""Where a parquet file keeps an instruction other than `BOXED_INSTRUCTION`."""

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"

_REWRITES = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"\[asy\].*?\[/asy\]", " "),  # figures, as the Art of Problem Solving writes them
        (r"!\[[^\]]*\]\([^)]*\)", " "),  # and as Markdown does
        (r"\\begin\{[a-z]*\*?\}|\\end\{[a-z]*\*?\}", " "),
        (r"\{,\}", ","),
        (r"\\\\|\\[,;:!> ()\[\]]|[~$&`]", " "),
        (r"\\(?:q?quad|displaystyle|limits|nolimits)(?![a-z])", " "),
        (r"\\(?:left|right|middle|[bB]igg?[lr]?)(?![a-z])", " "),
        (r"\\[dtc]frac(?![a-z])", r"\\frac"),
        (r"\\frac\s*(\d)(\d)", r"\\frac \1 \2 "),
        (r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:rm|bf|it|sf)|operatorname|mbox|emph|hbox)\*?(?![a-z])", " "),
        (r"\\leq(?:slant)?(?![a-z])|≤", r" \\le "),
        (r"\\geq(?:slant)?(?![a-z])|≥", r" \\ge "),
        (r"\\neq(?![a-z])|≠", r" \\ne "),
        (r"\\[lc]?dots[cbmio]?(?![a-z])|…", " ... "),
        (r"\\cdot(?![a-z])|[×·]", r" \\times "),
        (r"\\lvert(?![a-z])|\\rvert(?![a-z])|\\mid(?![a-z])", " | "),
        (r"\^\s*(?:\{\s*)?(?:\\circ(?![a-z])|°)\s*\}?|°", r" \\degree "),
        (r"[\u2010-\u2015\u2212]", "-"),
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    )
)

_TOKEN = re.compile(rf"\\[a-z]+|\d+(?:\.\d+)?|[{_CJK}]|(?:(?![{_CJK}])[^\W\d_])+|\.\.\.|[+\-*/^_=<>()|!%\[\]]")


def tokens_of(text: str) -> list[str]:
    r"""Words, numbers, LaTeX commands and operators of a text.

    What typesetting alone decides is gone: case, Unicode variants (NFKC), white space, math delimiters, spacing
    commands, `\left` and `\right`, sizes of fractions, fonts and `\text`, braces, thousands separators, figures and
    sentence punctuation. An ideograph is a token of its own.
    """
    text = unicodedata.normalize("NFKC", text.replace("…", "...")).lower()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return _TOKEN.findall(text)


def canonical_text(text: str) -> str:
    """The tokens in one line: equal for two copies of one problem."""
    return " ".join(tokens_of(text))


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
