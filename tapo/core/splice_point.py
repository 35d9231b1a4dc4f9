"""Where the actor's text leaves the wrong rollout's, and whether what it says from there on can be spliced."""

import re
from collections.abc import Sequence
from typing import Any

from tapo.core.copies import common_prefix_length, is_edited_copy
from tapo.core.funnel import ConstructionError
from tapo.core.reflection import Opening, opening_reflection
from tapo.core.tokens import decode, token_boundary, without_end

LEAST_STATEMENT = 12
"""Letters and digits that a kept text has at least, if there is anything in it to reflect on."""


BEGINNING = 400
"""Characters of the kept text in which those are counted."""


def kept_prefix(
    wrong_ids: Sequence[int], reconstruction: str, tokenizer: Any, wrong_text: str | None, min_share: float
) -> tuple[list[int], str, str, bool]:
    """The kept ids, the text they decode to, the new text behind it, and whether a reflection opens that.

    Args:
        min_share: least share of the rollout's characters that is kept where no reflection opens the new text.

    Raises:
        ConstructionError: the answer stops inside the rollout, edits it, or starts over.
    """
    own_ids = without_end(wrong_ids, tokenizer)
    wrong = decode(tokenizer, own_ids) if wrong_text is None else wrong_text
    new, split = _best_reading(reconstruction, wrong)
    if not any(character.isalnum() for character in new[split:]):
        reason = "splice_at_end" if not wrong[split:].strip() else "nothing_new"
        raise ConstructionError(reason, "nothing follows the copied text")
    reflects = _check_new_text(wrong, new, split, min_share)
    length, prefix = token_boundary(own_ids, wrong, split, tokenizer)
    return own_ids[:length], prefix, new[len(prefix) :], reflects


def _check_new_text(wrong: str, new: str, split: int, min_share: float) -> bool:
    """Whether a reflection opens the new text.

    Raises:
        ConstructionError: the new text is an edited copy, or a solution that starts over.
    """
    # A number that is cut short is as much another one as a number that goes on otherwise.
    begin = _word_begin(wrong if wrong[split : split + 1].isdigit() else new, split)
    reflection = opening_reflection(new[:begin], new[begin:], wrong[begin:])
    if reflection is None and is_edited_copy(new[begin:], wrong[begin:]):
        raise ConstructionError("not_verbatim", f"edited at character {split}, then goes on like the rollout")
    kept = new[: begin + min(reflection.start, 0)] if reflection else new[:split]
    if reflection and _can_be_wrong(kept, new[begin : begin + max(reflection.start, 0)], reflection):
        return True
    # What exclaims with nothing in front of it to be about takes back an error that the rollout never made.
    invented = reflection is not None and reflection.exclaims and min_share > 0
    if invented or len(kept) < min_share * len(wrong):
        raise ConstructionError("prefix_too_short", f"{len(kept)} of {len(wrong)} characters kept, then it starts over")
    return reflection is not None


_STATED = re.compile(r"[.!?](?=\s|\Z)|[。！？=\n]")
_CLAUSE = re.compile(r"[:,;](?=\s|\Z)|[，：]")


def _can_be_wrong(kept: str, lead: str, reflection: Opening) -> bool:
    """Whether the kept text states something that the reflection can be about.

    An exclamation needs a sentence, a line or an equation in front of it, or some words; where new words stand between
    (`lead`), these may be what it is about, and only a statement will do. A sentence that merely denies something needs
    a clause and some words.
    """
    words = sum(character.isalnum() for character in kept[:BEGINNING])
    stated = bool(_STATED.search(kept))
    if not reflection.exclaims:
        return words >= LEAST_STATEMENT and (stated or bool(_CLAUSE.search(kept)))
    if any(character.isalnum() for character in lead):
        return stated
    return words > 0 and (stated or words >= LEAST_STATEMENT)


_WORD_END = re.compile(r"[^\W\u2e80-\ud7ff]{1,24}\Z")


def _word_begin(text: str, split: int) -> int:
    """Where the word or number begins that the splice point cuts: texts that differ share a few letters by chance."""
    match = _WORD_END.search(text[max(split - 25, 0) : split])
    return split - len(match[0]) if match and split < len(text) and text[split].isalnum() else split


_FENCE = re.compile(r"\A\s*```\w*\n(?P<body>.*?)\n?```\s*\Z", re.DOTALL)


def _best_reading(reconstruction: str, wrong: str) -> tuple[str, int]:
    """The reading of the reconstruction that agrees longest with `wrong`, and how far.

    White space in front of a text is lost between tags more often than not, so the rollout's own is a reading too. So
    is what stands in a code fence that the whole reconstruction was put into.
    """
    own_space = wrong[: len(wrong) - len(wrong.lstrip())]
    readings = [reconstruction, own_space + reconstruction.lstrip()]
    if fenced := _FENCE.match(reconstruction):
        readings += [fenced["body"], own_space + fenced["body"].lstrip()]
    new, split = max(((text, common_prefix_length(text, wrong)) for text in readings), key=lambda pair: pair[1])
    new = new.removesuffix("\n")
    return new, min(split, len(new))
