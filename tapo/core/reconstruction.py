"""From the actor's answer to a micro-reflective trajectory: parse, find the splice point, splice token ids."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tapo.core.answer import Construction, parse_construction, visible_answer
from tapo.core.copies import common_prefix_length, is_edited_copy
from tapo.core.defaults import MIN_PREFIX_SHARE
from tapo.core.funnel import REASONS, ConstructionError
from tapo.core.leak import find_leak
from tapo.core.reflection import Opening, opening_reflection
from tapo.core.tokens import decode, encode_behind, response_text, token_boundary, turn_end, without_end

__all__ = [
    "REASONS",
    "Construction",
    "ConstructionError",
    "Spliced",
    "decode",
    "parse_construction",
    "response_text",
    "splice",
    "split_reflection",
    "turn_end",
    "visible_answer",
]

LEAST_STATEMENT = 12
"""Letters and digits that a kept text has at least, if there is anything in it to reflect on."""


BEGINNING = 400
"""Characters of the kept text in which those are counted."""


@dataclass(frozen=True)
class Spliced:
    """A constructed trajectory, ready to be trained as a response to the plain query.

    Attributes:
        ids: the wrong rollout's own first `prefix_length` ids, then the new text's ids, then the end of the turn.
        prefix_length: tokens kept from the wrong rollout; 0 in a full reconstruction.
        prefix, reflection, correction: the text in three segments; their concatenation is the whole text.
        has_reflection: whether a recognised reflection opens the new text; else `reflection` is its first paragraph,
            whatever it says. False in a full reconstruction.
        reflection_length: tokens of a recognised reflection, from `prefix_length` on; 0 where none is recognised.
    """

    ids: list[int]
    prefix_length: int
    reflection: str
    prefix: str = ""
    correction: str = ""
    has_reflection: bool = False
    reflection_length: int = 0

    @property
    def text(self) -> str:
        """The trajectory as text, without EOS."""
        return self.prefix + self.reflection + self.correction


def splice(
    wrong_ids: Sequence[int],
    reconstruction: str,
    tokenizer: Any,
    *,
    max_length: int,
    min_prefix_tokens: int = 1,
    min_prefix_share: float = MIN_PREFIX_SHARE,
    require_reflection: bool = False,
    keep_prefix: bool = True,
    wrong_text: str | None = None,
    end_ids: Sequence[int] | None = None,
) -> Spliced:
    """Put the reconstruction's new text onto the wrong rollout's own token ids (TAPO, figure 2).

    y_ref = y-[:t] + encode(reflection and correction) + EOS. The splice point is the first divergence between the two
    texts, moved back to a token boundary t of the wrong rollout, so that the kept prefix is never re-tokenised.

    Args:
        wrong_ids: response ids of the wrong rollout, with or without EOS.
        reconstruction: the text between the reconstruction tags.
        tokenizer: Hugging Face tokenizer.
        max_length: longest allowed result in tokens, EOS included.
        min_prefix_tokens: least number of kept tokens; 0 allows answers that start over, whatever share they keep.
        min_prefix_share: least share of the rollout's characters that is kept where no reflection opens the new text
            (or one opens it before anything was stated); less is a solution that starts over.
        require_reflection: drop constructions without a recognised reflection; full reconstructions need none.
        keep_prefix: False takes the reconstruction as a whole (ablation "full reconstruction"): `prefix_length` is 0.
        wrong_text: what `response_text` says of `wrong_ids`, where the caller knows it already.
        end_ids: `turn_end` of the correct sibling. Where it is empty or None, the turn ends as the wrong rollout's
            did, else with the tokenizer's EOS.

    Raises:
        ConstructionError: with the reason why the reconstruction must be dropped.
        ValueError: nothing says how a turn ends: neither rollout, and the tokenizer has no EOS.
    """
    if keep_prefix:
        kept, prefix, new_text, reflects = _kept_prefix(
            wrong_ids, reconstruction, tokenizer, wrong_text, min_prefix_share if min_prefix_tokens else 0.0
        )
        if len(kept) < min_prefix_tokens:
            raise ConstructionError("prefix_too_short", f"{len(kept)} tokens kept, at least {min_prefix_tokens} wanted")
    else:
        kept, prefix, new_text, reflects = [], "", reconstruction, False
    if leak := find_leak(new_text):
        raise ConstructionError("leak", leak)
    if require_reflection and keep_prefix and not reflects:
        raise ConstructionError("no_reflection", "no notice of an error behind the kept text")

    own_ids = [*kept, *encode_behind(kept, new_text, tokenizer)]
    ids = own_ids + _end_of_turn(end_ids, wrong_ids, tokenizer)
    if len(ids) > max_length:
        raise ConstructionError("too_long", f"{len(ids)} tokens, at most {max_length}")
    if decode(tokenizer, own_ids) != prefix + new_text:
        raise ConstructionError("tokenizer_roundtrip", "the spliced ids decode to another text")
    reflection, correction = split_reflection(new_text) if keep_prefix else ("", new_text)
    end = len(kept)
    if reflects:
        end, _ = token_boundary(own_ids, prefix + new_text, len(prefix + reflection), tokenizer)
    return Spliced(ids, len(kept), reflection, prefix, correction, reflects, end - len(kept))


def split_reflection(new_text: str) -> tuple[str, str]:
    """Split the text after the splice point into reflection and correction, for display and metrics.

    The reflection is the first paragraph if there are several, else the first line, else the first sentence. The
    separator stays with the reflection, leading white space too; the parts concatenate to `new_text`.
    """
    body = len(new_text) - len(new_text.lstrip())
    for separator in ("\n\n", "\n", ". "):
        end = new_text.find(separator, body)
        if end >= 0 and new_text[end + len(separator) :].strip():
            return new_text[: end + len(separator)], new_text[end + len(separator) :]
    return new_text, ""


def _end_of_turn(end_ids: Sequence[int] | None, wrong_ids: Sequence[int], tokenizer: Any) -> list[int]:
    if end := list(end_ids or turn_end(wrong_ids, tokenizer)):
        return end
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "tokenizer.eos_token_id = None cannot work: no rollout shows how a turn ends; set the tokenizer's eos_token"
        )
    return [tokenizer.eos_token_id]


def _kept_prefix(
    wrong_ids: Sequence[int], reconstruction: str, tokenizer: Any, wrong_text: str | None, min_share: float
) -> tuple[list[int], str, str, bool]:
    """The kept ids, the text they decode to, the new text behind it, and whether a reflection opens that."""
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
