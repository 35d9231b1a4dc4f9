"""What is told of a constructed text: where its answer stands, how much of it is new, whether it repeats its error."""

from typing import Any

from tapo.core.reconstruction import Spliced
from tapo.core.token_lengths import token_lengths, tokens_between
from tapo.rewards.boxed import last_box


def answer_tokens(spliced: Spliced, tokenizer: Any) -> tuple[int, int]:
    r"""(first, number) of the tokens that hold the last `\boxed{...}` of a trajectory, command and braces included.

    (0, 0) where the text has none, or its tokens cannot be laid along it.
    """
    box = last_box(spliced.text)
    lengths = token_lengths(spliced.ids, spliced.text, tokenizer) if box else None
    return tokens_between(lengths, *box) if box and lengths else (0, 0)


def repeats_last_line(prefix: str, correction: str) -> bool:
    """Whether the last line of the kept prefix, in which the error was caught, is a line of the correction again.

    White space at the ends of lines and blank lines aside; False where nothing is kept.
    """
    kept = [line.strip() for line in prefix.splitlines() if line.strip()]
    return bool(kept) and kept[-1] in (line.strip() for line in correction.splitlines())


def edit_size(*, tokens: int, prefix_length: int, wrong_tokens: int) -> float:
    """Tokens behind the splice point over those of the wrong rollout that they take the place of.

    Both count the token that ends the turn; a rollout that was cut off and kept whole counts as one dropped token.
    """
    return (tokens - prefix_length) / max(wrong_tokens - prefix_length, 1)
