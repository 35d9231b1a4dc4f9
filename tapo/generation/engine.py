"""What every engine answers: token ids in, samples out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from tapo.options import AtLeastOne, Needs, NotNegative, Options

SEED_RANGE = 1 << 31


class Sampling(Options):
    """How to draw a response."""

    temperature: NotNegative = 1.0
    """0 samples greedily."""
    top_p: Annotated[float, Needs("0 < top_p <= 1", lambda share: 0 < share <= 1)] = 1.0
    """Nucleus."""
    max_tokens: AtLeastOne = 8192
    """Of a response."""


@dataclass(frozen=True)
class Sample:
    """One response.

    Attributes:
        ids: as sampled, the end-of-sequence token included where it was sampled.
        finish_reason: `stop`, or `length` where `max_tokens` ended it.
    """

    ids: list[int]
    finish_reason: str


class Engine(Protocol):
    """Samples from one model; any number of calls may be under way at once."""

    async def sample(self, prompt_ids: Sequence[int], sampling: Sampling, *, n: int, seed: int) -> list[Sample]:
        """`n` responses to a prompt; with the same seed the same ones, as far as the engine is deterministic."""

    async def close(self) -> None:
        """Release processes and connections."""


def derived_seed(seed: int, *parts: object) -> int:
    """A seed for one request, from the run's seed and what tells the request apart; independent of any order."""
    digest = hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEED_RANGE
