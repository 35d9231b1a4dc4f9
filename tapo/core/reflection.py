"""Whether the text behind a splice point opens with a reflection: a notice of the error, in words."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tapo.core.copies import copies_words, follows
from tapo.core.phrases import REFLECTIONS, Detector, PhraseMatch, load_detector

SPLICE_REFLECTIONS = Path(__file__).parent / "data" / "splice_reflections.yaml"
"""Counts at a splice point beside the list behind DSR and ERR."""

LEAD_IN = 160
"""Most characters between the splice point and the sentence that reflects: a check, say, that ends in the notice."""

REACH = 400
"""Characters behind the splice point that are read."""

CONTEXT = 40
"""Characters in front of it in which a phrase may begin that rollout and reflection share by chance ("Let me ...")."""

COPIED = 40
"""So many characters from the phrase on that stand in the rollout's dropped tail are its own words, no notice."""

_SENTENCE_END = re.compile(r"[.!?](?=[\s)\"'”]|\Z)[)\"'”]*|[。！？]|\n")


@cache
def splice_detectors() -> tuple[Detector, Detector]:
    """The lists in force: the one behind DSR and ERR, and the one for splice points."""
    return load_detector(REFLECTIONS), load_detector(SPLICE_REFLECTIONS)


@cache
def _patterns() -> frozenset[str]:
    """Phrases that prove little by themselves: in a sentence that goes along with the rollout's they are an edit."""
    return frozenset(phrase for list_ in splice_detectors() for place, phrase in list_.phrases if place == "patterns")


@dataclass(frozen=True)
class Opening:
    """A reflection that opens the new text.

    Attributes:
        start: where its phrase begins, in characters from the splice point; negative inside the kept text.
        exclaims: whether the phrase opens a sentence or clause ("Wait, ..."), or only stands in one ("... is not 55").
    """

    start: int
    exclaims: bool


def opening_reflection(kept: str, new: str, old: str) -> Opening | None:
    """The reflection that opens the new text, if one does.

    It must come within the first sentences; what stands in front of it must not go on like the rollout, and it must
    not be the rollout's own words.

    Args:
        kept: the text in front of the splice point.
        new: the actor's text behind it.
        old: the rollout's dropped tail.
    """
    context = _context(kept)
    text = context + new[:REACH]
    for match in _find(text, len(context)):
        if opening := _opening(text, match, len(context), old):
            return opening
    return None


def _find(text: str, splice: int) -> list[PhraseMatch]:
    """Phrases that end behind the splice point, in order; there a phrase may open, whatever stands in front."""
    found = []
    for detector in splice_detectors():
        found += [match for match in detector.find(text) if match.end > splice]
        behind = detector.find(text[splice:])
        found += [PhraseMatch(match.start + splice, match.end + splice, match.phrase) for match in behind]
    return sorted(set(found), key=lambda match: (match.start, match.end))


def _opening(text: str, match: PhraseMatch, splice: int, old: str) -> Opening | None:
    """The match as an opening; None where it is too far behind, an edit of the rollout, or the rollout's own words."""
    begin, end = _sentence(text, match)
    lead = text[splice : max(begin, splice)]
    if len(lead) > LEAD_IN or follows(lead, old) or copies_words(lead, old):
        return None
    if text[max(match.start, splice) :][:COPIED].strip() in old:
        return None
    opens = not any(character.isalnum() for character in text[max(begin, splice) : match.start])
    exclaims = opens and match.phrase not in _patterns()
    if not exclaims and (follows(text[splice:end], old) or _reworded(text, splice)):
        return None
    return Opening(match.start - splice, exclaims)


def _reworded(text: str, splice: int) -> bool:
    """Whether the new text replaces words in the middle of a clause: letters on both sides of the splice point."""
    return text[:splice].rstrip()[-1:].isalpha() and text[splice:].lstrip()[:1].isalpha()


def _sentence(text: str, match: PhraseMatch) -> tuple[int, int]:
    begin = max((end.end() for end in _SENTENCE_END.finditer(text, 0, match.start)), default=0)
    behind = _SENTENCE_END.search(text, match.end)
    return begin, behind.end() if behind else len(text)


def _context(kept: str) -> str:
    """The end of the kept text from its last sentence on, at most `CONTEXT` characters."""
    tail = kept[-CONTEXT:]
    last = max((end.end() for end in _SENTENCE_END.finditer(tail)), default=0)
    return tail[last:]
