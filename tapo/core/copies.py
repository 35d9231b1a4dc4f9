"""Whether a reconstruction goes on copying the rollout behind the place where it should have stopped."""

import re
from difflib import SequenceMatcher

TRACKING_WINDOW = 160
TRACKING_RATIO = 0.6
"""Text after the splice point whose next `TRACKING_WINDOW` characters are this similar to the wrong rollout's own
continuation is an edited copy of it, unless a reflection opens it."""

COPIED_BLOCK = 48
"""So many characters in a row of the rollout's dropped tail, within that window, are copied on too."""

LEAD_BLOCK = 24
"""So many characters in a row of it are copied where they stand between the splice point and a reflection."""

FOLLOWING_SHARE = 0.6
"""A few words of which this share stands, in order, at the beginning of the dropped tail are an edit of it."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def common_prefix_length(a: str, b: str) -> int:
    """Characters that `a` and `b` share from their beginning; bisection keeps the comparison in C."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a.startswith(b[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def follows(words: str, old: str) -> bool:
    """Whether `words` go along with the beginning of `old`, numbers aside: a sentence or two with something changed.

    Punctuation and white space alone do not.
    """
    if not any(character.isalnum() for character in words):
        return False
    new = _NUMBER.sub("#", words)
    own = _NUMBER.sub("#", old[: 2 * len(words) + 20])[: round(1.3 * len(new)) + 10]
    blocks = SequenceMatcher(None, new, own, autojunk=False).get_matching_blocks()
    least = min(3, len(new.strip()))
    return sum(block.size for block in blocks if block.size >= least) >= FOLLOWING_SHARE * len(new)


def is_edited_copy(new: str, old: str) -> bool:
    """Whether the new text behind the splice point is an edited copy of the rollout's dropped tail.

    So it is if it changes a number in place, if it reads like the tail in the same place, or if a block of the tail
    stands in it, shifted by an insertion or an omission. A reflection may be followed by all of this: ask for it
    first.
    """
    if not old:
        return False
    if new[0].isdigit() and old[0].isdigit():
        return True
    window = min(len(new), len(old), TRACKING_WINDOW)
    matcher = SequenceMatcher(None, new[:window], old[:window], autojunk=False)
    if matcher.ratio() >= TRACKING_RATIO:
        return True
    return _share_block(new[:TRACKING_WINDOW], old)


def copies_words(lead: str, old: str) -> bool:
    """Whether `LEAD_BLOCK` characters in a row of a lead-in stand somewhere in the dropped tail: something of the
    rollout was left out in front of them."""
    return _share_block(lead, old, LEAD_BLOCK)


def _share_block(head: str, old: str, least: int = COPIED_BLOCK) -> bool:
    """Whether `least` characters in a row of `head` stand somewhere in `old`.

    Such a run holds a whole piece of half its length, wherever it begins: only those are searched for, and extended.
    """
    size = least // 2
    for begin in range(0, len(head) - size + 1, size):
        piece = head[begin : begin + size]
        at = old.find(piece)
        while at >= 0:
            behind = common_prefix_length(head[begin:], old[at : at + len(head)])
            before = common_prefix_length(head[:begin][::-1], old[max(at - begin, 0) : at][::-1])
            if before + behind >= least:
                return True
            at = old.find(piece, at + 1)
    return False
