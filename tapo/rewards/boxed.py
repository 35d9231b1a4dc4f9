r"""Find the answer of a response: the content of its last complete ``\boxed{...}``. Pure, in linear time."""

import re

# `\\.` swallows escaped characters, so that `\{` and `\}`, which TeX does not count, do not count here either.
_TOKEN = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
    r"""Return what stands between the braces of `last_box`; None if there is none."""
    box = last_box(text)
    return None if box is None else text[text.index("{", box[0]) + 1 : box[1] - 1]


def last_box(text: str) -> tuple[int, int] | None:
    r"""Where the last complete ``\boxed{...}`` of ``text`` begins and ends, its braces included; None if there is none.

    "Last" means the one that starts last, so of two nested boxes it is the inner one; "complete" means that its braces
    balance. A box that is never closed is passed over, whatever is nested in it still counts.
    """
    open_braces: list[int | None] = []  # where a box starts; None for a plain brace
    best: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text):
        kind = token.group()
        if kind == "{":
            open_braces.append(None)
        elif kind.startswith("\\boxed"):
            open_braces.append(token.start())
        elif kind == "}" and open_braces:
            start = open_braces.pop()
            if start is not None and (best is None or start > best[0]):
                best = (start, token.end())
    return best
