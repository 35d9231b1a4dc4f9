"""Which beginnings of a prompt an engine has computed before."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence


class PrefixCache:
    """Whole blocks of tokens, each known together with all in front of it; those used longest ago are forgotten.

    Args:
        tokens: most tokens that are held.
    """

    def __init__(self, tokens: int, block: int):
        self._block = block
        self._most = tokens // block
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def find(self, ids: Sequence[int]) -> int:
        """Tokens at the beginning that need not be computed again."""
        found = 0
        for block in self._chain(ids):
            if block not in self._blocks:
                break
            self._blocks.move_to_end(block)
            found += self._block
        return found

    def add(self, ids: Sequence[int]) -> None:
        """Remember what has been computed."""
        for block in self._chain(ids):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)

    def _chain(self, ids: Sequence[int]) -> Iterator[int]:
        before = 0
        for begin in range(0, len(ids) - self._block + 1, self._block):
            before = hash((before, *ids[begin : begin + self._block]))
            yield before
