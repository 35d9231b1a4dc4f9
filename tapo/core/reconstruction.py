"""From the actor's answer to a micro-reflective trajectory: parse, find the splice point, splice token ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tapo.core.answer import Construction, parse_construction, visible_answer
from tapo.core.defaults import MIN_PREFIX_SHARE
from tapo.core.funnel import REASONS, ConstructionError
from tapo.core.leak import find_leak
from tapo.core.splice_point import kept_prefix
from tapo.core.tokens import decode, encode_behind, response_text, token_boundary, turn_end, without_end

__all__ = [
    "REASONS",
    "Construction",
    "ConstructionError",
    "Spliced",
    "decode",
    "first_line",
    "parse_construction",
    "response_text",
    "splice",
    "splice_opening",
    "split_reflection",
    "turn_end",
    "visible_answer",
]

ANSWER_MARK = "\\boxed"
"""In a reflection that the policy is to go on from, it would hand over what it must find by itself."""


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

    def continued(self, ids: Sequence[int], tokenizer: Any) -> "Spliced":
        """The trajectory that ends in a correction of the policy's own, given as it was sampled behind these ids.

        Raises:
            ConstructionError: "tokenizer_roundtrip" if the ids together decode to another beginning.
        """
        whole, opening = [*self.ids, *ids], self.prefix + self.reflection
        text = decode(tokenizer, without_end(whole, tokenizer))
        if not text.startswith(opening):
            raise ConstructionError("tokenizer_roundtrip", "the continued ids decode to another beginning")
        return replace(self, ids=whole, correction=text[len(opening) :])


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
    kept: list[int] = []
    prefix, new_text, reflects = "", reconstruction, False
    if keep_prefix:
        kept, prefix, new_text, reflects = _kept(
            wrong_ids, reconstruction, tokenizer, wrong_text, min_prefix_tokens, min_prefix_share
        )
    _check_words(new_text, reflects or not (require_reflection and keep_prefix))
    own_ids = _joined(kept, prefix, new_text, tokenizer)
    ids = own_ids + _end_of_turn(end_ids, wrong_ids, tokenizer)
    _check_length(ids, max_length)
    reflection, correction = split_reflection(new_text) if keep_prefix else ("", new_text)
    end = len(kept)
    if reflects:
        end, _ = token_boundary(own_ids, prefix + new_text, len(prefix + reflection), tokenizer)
    return Spliced(ids, len(kept), reflection, prefix, correction, reflects, end - len(kept))


def splice_opening(
    wrong_ids: Sequence[int],
    reconstruction: str,
    tokenizer: Any,
    *,
    max_length: int,
    min_prefix_tokens: int = 1,
    min_prefix_share: float = MIN_PREFIX_SHARE,
    require_reflection: bool = False,
    wrong_text: str | None = None,
) -> Spliced:
    """As `splice`, up to the end of the reflection: what the policy is to go on from by itself.

    The reflection is the first line of the new text, its newline with it; whatever the actor wrote behind that is left
    out. Neither a correction nor an end of the turn follows, and there is room for one token more.

    Raises:
        ConstructionError: as `splice`; "leak" also where the reflection gives the answer.
    """
    kept, prefix, new_text, reflects = _kept(
        wrong_ids, reconstruction, tokenizer, wrong_text, min_prefix_tokens, min_prefix_share
    )
    if reconstruction.endswith("\n") and not new_text.endswith("\n"):
        new_text += "\n"
    reflection = first_line(new_text)
    _check_words(reflection, reflects or not require_reflection)
    if ANSWER_MARK in reflection:
        raise ConstructionError("leak", "the reflection gives the answer")
    ids = _joined(kept, prefix, reflection, tokenizer)
    _check_length(ids, max_length - 1)
    return Spliced(ids, len(kept), reflection, prefix, "", reflects, (len(ids) - len(kept)) if reflects else 0)


def first_line(new_text: str) -> str:
    """The first line that says something, its newline with it; a space at its end belongs to what would follow."""
    begin = len(new_text) - len(new_text.lstrip())
    end = new_text.find("\n", begin)
    return (new_text if end < 0 else new_text[: end + 1]).rstrip(" ")


def _kept(
    wrong_ids: Sequence[int],
    reconstruction: str,
    tokenizer: Any,
    wrong_text: str | None,
    min_prefix_tokens: int,
    min_prefix_share: float,
) -> tuple[list[int], str, str, bool]:
    min_share = min_prefix_share if min_prefix_tokens else 0.0
    parts = kept_prefix(wrong_ids, reconstruction, tokenizer, wrong_text, min_share)
    if len(parts[0]) < min_prefix_tokens:
        raise ConstructionError("prefix_too_short", f"{len(parts[0])} tokens kept, at least {min_prefix_tokens} wanted")
    return parts


def _check_words(new_text: str, reflects: bool) -> None:
    if leak := find_leak(new_text):
        raise ConstructionError("leak", leak)
    if not reflects:
        raise ConstructionError("no_reflection", "no notice of an error behind the kept text")


def _joined(kept: list[int], prefix: str, new_text: str, tokenizer: Any) -> list[int]:
    ids = [*kept, *encode_behind(kept, new_text, tokenizer)]
    if decode(tokenizer, ids) != prefix + new_text:
        raise ConstructionError("tokenizer_roundtrip", "the spliced ids decode to another text")
    return ids


def _check_length(ids: Sequence[int], most: int) -> None:
    if len(ids) > most:
        raise ConstructionError("too_long", f"{len(ids)} tokens, at most {most}")


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
