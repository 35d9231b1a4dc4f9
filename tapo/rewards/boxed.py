r"""Find the answer of a response: the content of its last complete ``\boxed{...}``. Pure, in linear time."""

import re

# `\\.` swallows escaped characters, so that `\{` and `\}`, which TeX does not count, do not count here either.
_TOKEN = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
    r"""Return what stands between the braces of the last complete ``\boxed{...}`` of ``text``; None if there is none.

    "Last" means the one that starts last, so of two nested boxes it is the inner one; "complete" means that its braces
    balance. A box that is never closed is passed over, whatever is nested in it still counts.
    """
    open_braces: list[int | None] = []  # where a box's content starts; None for a plain brace
    best: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text):
        kind = token.group()
        if kind == "{":
            open_braces.append(None)
        elif kind.startswith("\\boxed"):
            open_braces.append(token.end())
        elif kind == "}" and open_braces:
            start = open_braces.pop()
            if start is not None and (best is None or start > best[0]):
                best = (start, token.start())
    return None if best is None else text[best[0] : best[1]]
