"""Texts on a terminal: lines as they are, and what a model wrote."""

from rich.console import Console

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), 0x2421)


def say(text: str, console: Console, style: str | None = None) -> None:
    """Print a line as it is: brackets are no markup, numbers have no colour, the terminal wraps it."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def harmless(text: str) -> str:
    """The text with its control characters shown as pictures, one for one: a terminal would obey escape sequences."""
    return text.translate(_PICTURES)


def shortened(text: str, head: int, tail: int) -> str:
    """Beginning and end of a text, and how many characters lie between them; all of it where that is shorter."""
    left_out = len(text) - head - tail
    if left_out <= 0:
        return text
    return f"{text[:head]}\n[... {left_out} characters ...]\n{text[len(text) - tail :]}"
