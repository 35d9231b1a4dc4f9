"""Where the passage stands that the actor quotes as the error, so that the attempt need not be copied up to it."""

import re
from dataclasses import dataclass

from rapidfuzz import fuzz

from tapo.core.funnel import ConstructionError

LONGEST = 400
"""Characters of a quote that are looked for, counted from its end: where the kept text ends is what matters."""

LEAST_PART = 8
"""Letters and digits that part of a quote, or one that is not quite the attempt's, has at least."""

LEAST_CLOSE = 85.0
"""Least likeness, of 100, of a passage that is not quite the quote."""

MARGIN = 5.0
"""By so much it must be liker than any other passage."""

_MARKS = " \t\r\n\"'`*“”„«»‘’>"
_ELLIPSIS = re.compile(r"\.\.\.|…|\[\.\.\.\]")
# Behind a passage: the rest of a word or number, what closes a bracket or emphasis, the end of a sentence.
_REST = re.compile(r"\w*[)\]}\"'”*_`$]*(?:[.!?。！？](?=\s|\Z))?")


@dataclass(frozen=True)
class Anchor:
    """Where a quoted passage ends.

    Attributes:
        end: characters of the attempt up to and including the passage, its last word and what closes it.
        found: how it was found: `exact`; `spaced`, but for white space; `close`, nearly so; `part`, by the longest end
            of the quote that the attempt has.
    """

    end: int
    found: str


def find_anchor(quote: str, attempt: str) -> Anchor:
    """Find the passage of an attempt that a quote means.

    Each way is tried only where the one before finds nothing. A passage that stands in several places is not guessed.

    Raises:
        ConstructionError: "no_anchor" if the attempt does not have the passage, "ambiguous_anchor" if it has several.
    """
    quote = _bare(quote)
    if not any(character.isalnum() for character in quote):
        raise ConstructionError("no_anchor", "nothing is quoted")
    for found, ends in (("exact", _exact(quote, attempt)), ("spaced", _spaced(quote, attempt))):
        if ends:
            return _single(ends, found, quote, attempt)
    if (end := _close(quote, attempt)) is not None:
        return _single([end], "close", quote, attempt)
    return _single(_part(quote, attempt), "part", quote, attempt)


def quote_for(attempt: str, end: int) -> str | None:
    """The shortest quote that means the passage before `end`: its last sentence or line, or more where that stands
    elsewhere too; None where none does."""
    kept = attempt[:end].rstrip()
    begins = [match.end() for match in re.finditer(r"(?:[.!?。！？]\s+|\n\s*)", kept)] or [0]
    for begin in [*reversed(begins), 0]:
        quote = kept[begin:]
        if len(quote) > LONGEST:
            return None
        try:
            anchor = find_anchor(quote, attempt)
        except ConstructionError:
            continue
        if anchor.found == "exact" and not attempt[anchor.end : end].strip() and anchor.end <= end:
            return quote
    return None


def _bare(quote: str) -> str:
    """The quote without quotation marks and emphasis around it."""
    bare = quote.strip(_MARKS)
    for ellipsis in ("...", "…"):
        bare = bare.removesuffix(ellipsis).rstrip(_MARKS)
    return bare[-LONGEST:]


def _single(ends: list[int], found: str, quote: str, attempt: str) -> Anchor:
    if not ends:
        raise ConstructionError("no_anchor", f"{quote!r:.80} is not in the attempt")
    if len(ends) > 1:
        raise ConstructionError("ambiguous_anchor", f"{quote!r:.80} stands in {len(ends)} places")
    rest = _REST.match(attempt, ends[0])
    return Anchor(rest.end() if rest else ends[0], found)


def _exact(quote: str, attempt: str) -> list[int]:
    """Where it ends, wherever it stands; not in the middle of a number, which would be another one."""
    before = r"(?<!\d)" if quote[0].isdigit() else ""
    behind = r"(?!\d)" if quote[-1].isdigit() else ""
    return [match.end(1) for match in re.finditer(rf"{before}(?=({re.escape(quote)}){behind})", attempt)]


def _spaced(quote: str, attempt: str) -> list[int]:
    """The same, white space aside."""
    places = [place for place, character in enumerate(attempt) if not character.isspace()]
    ends = _exact("".join(quote.split()), "".join(attempt.split()))
    return [places[end - 1] + 1 for end in ends]


def _close(quote: str, attempt: str) -> int | None:
    """Where the passage ends that is nearly the quote.

    Raises:
        ConstructionError: "ambiguous_anchor" if another one is about as near.
    """
    if sum(character.isalnum() for character in quote) < LEAST_PART:
        return None
    best = (
        fuzz.partial_ratio_alignment(quote, attempt, score_cutoff=LEAST_CLOSE) if len(quote) <= len(attempt) else None
    )
    if best is None:
        return None
    for other in (attempt[: best.dest_start], attempt[best.dest_end :]):
        if len(other) >= len(quote) and fuzz.partial_ratio(quote, other, score_cutoff=best.score - MARGIN):
            raise ConstructionError("ambiguous_anchor", f"{quote!r:.80} is like several passages")
    return best.dest_end


def _part(quote: str, attempt: str) -> list[int]:
    """Where the longest end of the quote ends that the attempt has, by whole words."""
    begins = [match.start() for match in re.finditer(r"\S+", quote)]
    for begin in begins[1:]:
        part = quote[begin:].lstrip(_MARKS)
        if sum(character.isalnum() for character in part) < LEAST_PART:
            return []
        if ends := _exact(part, attempt):
            return ends
    return []
