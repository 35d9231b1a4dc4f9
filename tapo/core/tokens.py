"""Token ids and their text: decoding, the end of a turn, boundaries, and encoding in the middle of a text."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np

from tapo.core.funnel import ConstructionError

REPLACEMENT = "\ufffd"
"""What a part of a character decodes to."""

MAX_TOKENS_PER_CHARACTER = 8
"""A UTF-8 character has at most 4 bytes; byte-level vocabularies spend at most one token a byte."""

CONTEXT_TOKENS = 8
"""So many kept tokens in front are enough for an encoding to see where it begins."""


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of token ids: special tokens left out, spaces as they are."""
    # As an array: transformers looks at each element of a list, which takes longer than the decoding.
    array = np.asarray(ids, dtype=np.int64)
    return tokenizer.decode(array, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def response_text(ids: Sequence[int], tokenizer: Any) -> tuple[list[int], str]:
    """A response's ids without what ends it (EOS, end of turn, padding), and the text that the actor is shown."""
    own_ids = without_end(ids, tokenizer)
    return own_ids, decode(tokenizer, own_ids)


def without_end(ids: Sequence[int], tokenizer: Any) -> list[int]:
    """The ids without the special tokens at their end."""
    return list(ids[: _end(ids, tokenizer)])


def turn_end(ids: Sequence[int], tokenizer: Any) -> list[int]:
    """The token by which the policy ended a response, as a list of one; empty where it did not (a cut or a stop
    string). Padding is no end, unless the tokenizer pads with EOS."""
    own = _end(ids, tokenizer)
    first = list(ids[own : own + 1])
    padding = getattr(tokenizer, "pad_token_id", None)
    return [] if first == [padding] and padding != tokenizer.eos_token_id else first


def turn_end_ids(tokenizer: Any) -> frozenset[int]:
    """The tokens that may end a response: the special ones, and the one by which the chat template ends a turn."""
    return frozenset(tokenizer.all_special_ids).union(
        _template_end(tokenizer, getattr(tokenizer, "chat_template", None))
    )


def _end(ids: Sequence[int], tokenizer: Any) -> int:
    """How many ids stand in front of the special tokens at the end."""
    ends = turn_end_ids(tokenizer)
    length = len(ids)
    while length and ids[length - 1] in ends:
        length -= 1
    return length


@lru_cache(maxsize=16)
def _template_end(tokenizer: Any, template: Any) -> tuple[int, ...]:
    """The added token that the chat template puts behind an assistant's text; it need not be declared special."""
    if not template or not hasattr(tokenizer, "get_added_vocab"):
        return ()
    from jinja2 import TemplateError

    added = {text: token for text, token in tokenizer.get_added_vocab().items() if text.strip()}
    mark = "0a1b2c"
    turns = [("user", "u"), ("assistant", mark), ("user", "v")]
    try:
        text = tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in turns], tokenize=False)
    except (TemplateError, TypeError, ValueError):
        # A template that refuses these turns, say for want of a system message.
        return ()
    behind = text.rpartition(mark)[2].lstrip()
    found = max((piece for piece in added if behind.startswith(piece)), key=len, default=None)
    return () if found is None else (added[found],)


def encode_behind(kept: Sequence[int], text: str, tokenizer: Any) -> list[int]:
    """Encode `text` as it stands behind the ids `kept`.

    Vocabularies with a dummy prefix (SentencePiece) put a space in front of whatever they encode. There the text is
    encoded behind a piece that is then taken off again: the end of what is kept, else a character that merges with
    little.

    Returns:
        Ids that decode to the text behind `kept`; where no encoding does, the plain one.
    """
    plain = tokenizer.encode(text, add_special_tokens=False)
    context = list(kept[-CONTEXT_TOKENS:])
    if not context or _continues(context, plain, text, tokenizer):
        return plain
    for anchor in (decode(tokenizer, context), "\n", "=", "."):
        head = tokenizer.encode(anchor, add_special_tokens=False)
        whole = tokenizer.encode(anchor + text, add_special_tokens=False)
        if whole[: len(head)] == head and _continues(context, whole[len(head) :], text, tokenizer):
            return whole[len(head) :]
    return plain


def _continues(context: list[int], ids: list[int], text: str, tokenizer: Any) -> bool:
    return decode(tokenizer, [*context, *ids]) == decode(tokenizer, context) + text


def token_boundary(ids: Sequence[int], text: str, limit: int, tokenizer: Any) -> tuple[int, str]:
    """Most leading ids whose text is a prefix of `text` of at most `limit` characters, with that prefix.

    Raises:
        ConstructionError: "tokenizer_roundtrip" if the ids do not decode to the beginning of `text`.
    """
    low, high = 0, len(ids)
    low_chars, high_chars = 0, len(text)
    for look in count():
        if low == high:
            break
        # Each look costs a decoding, and text is spread about evenly over tokens: interpolate. Halving every third
        # time bounds the looks where it is not.
        share = 0.5 if look % 3 == 2 else (limit - low_chars) / max(high_chars - low_chars, 1)
        middle = min(max(low + round(share * (high - low)), low + 1), high)
        chars = low_chars + _added_characters(ids, low, middle, tokenizer)
        if chars <= limit:
            low, low_chars = middle, chars
        else:
            high, high_chars = middle - 1, chars
    # A cut inside a character of several tokens decodes to a replacement mark: go back to where the character began.
    for length in range(low, max(low - MAX_TOKENS_PER_CHARACTER, 0) - 1, -1):
        prefix = decode(tokenizer, ids[:length])
        if len(prefix) <= limit and text.startswith(prefix):
            return length, prefix
    raise ConstructionError("tokenizer_roundtrip", "the kept ids do not decode to the beginning of the rollout")


def _added_characters(ids: Sequence[int], low: int, high: int, tokenizer: Any) -> int:
    """Characters by which `ids[:high]` decodes to more than `ids[:low]`.

    Behind one token of context, since a piece decoded by itself may lose the space in front of it; from the beginning
    where the piece holds a cut character, which shows as a mark.
    """
    context = ids[max(low - 1, 0) : low]
    piece = decode(tokenizer, ids[max(low - 1, 0) : high])
    if REPLACEMENT in piece:
        return len(decode(tokenizer, ids[:high])) - len(decode(tokenizer, ids[:low]))
    return len(piece) - (len(decode(tokenizer, context)) if context else 0)
