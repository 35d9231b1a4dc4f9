"""Which characters of a text each token stands for, so that per-token numbers can be shown on the text."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from tapo.core.tokens import REPLACEMENT, decode

MAX_TOKENS_TOGETHER = 64
"""Tokens tried as one piece at most, where single tokens do not decode to the text's own characters."""


def token_lengths(ids: Sequence[int], text: str, tokenizer: Any) -> list[int] | None:
    """Characters of `text` that each token completes, in order; they sum to `len(text)`.

    A token that ends inside a character, a special token, and a last one behind the text (the end of a turn) has 0: a
    character counts with the token that completes it.

    Args:
        ids: the tokens that decode to `text`, special tokens left out.
        text: their text.
        tokenizer: Hugging Face tokenizer.

    Returns:
        As many lengths as ids, or None where the tokens cannot be laid along the text.
    """
    # A piece behind its neighbour is exact for any vocabulary; a piece by itself costs far fewer decodings.
    return _lay(ids, text, tokenizer, context=0) or _lay(ids, text, tokenizer, context=1)


def tokens_between(lengths: Sequence[int], begin: int, end: int) -> tuple[int, int]:
    """(first, number) of the tokens that stand for some of the characters from `begin` up to `end`, begin < end.

    Args:
        lengths: see `token_lengths`. Tokens inside a character count with the one that completes it.
    """
    ends = list(accumulate(lengths))
    first, last = bisect_right(ends, begin), bisect_left(ends, end)
    return first, last + 1 - first


def _lay(ids: Sequence[int], text: str, tokenizer: Any, context: int) -> list[int] | None:
    known: dict[tuple[int, ...], str] = {}
    lengths, start, position = [0] * len(ids), 0, 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) == start + 1 and position == len(text):
            return lengths
        behind = min(context, start)
        window = tuple(ids[start - behind : end])
        if window not in known:
            known[window] = _piece(window, behind, tokenizer)
        length = _matched(known[window], text, position, last=end == len(ids))
        if length is None:
            if end - start == MAX_TOKENS_TOGETHER:
                return None
            continue
        lengths[end - 1] = length
        start, position = end, position + length
    return lengths if start == len(ids) and position == len(text) else None


def _piece(window: tuple[int, ...], behind: int, tokenizer: Any) -> str:
    """What the tokens decode to behind the first `behind` of them."""
    skipped = len(decode(tokenizer, window[:behind])) if behind else 0
    return decode(tokenizer, window)[skipped:]


def _matched(piece: str, text: str, position: int, last: bool) -> int | None:
    """Length of a decoded piece that stands at `position`; None where it does not, or ends inside a character."""
    if piece.endswith(REPLACEMENT) and not last:
        return None
    # Vocabularies that mark word beginnings lose the space in front of a piece that is decoded by itself.
    for candidate in (piece, " " + piece):
        if text.startswith(candidate, position):
            return len(candidate)
    return None
