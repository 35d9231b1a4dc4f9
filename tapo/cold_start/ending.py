"""The token with which a model ends its turns; its tokenizer's EOS is another one with Gemma, Phi-3 and GLM-4."""

import itertools
from collections import Counter
from collections.abc import Sequence

from tapo.data.rollout_store import RolloutStore

QUERIES = 256
"""Looked at, of each store."""


def end_token(sources: Sequence[RolloutStore]) -> int | None:
    """The last id of most responses that ended by themselves; None where no id ends more than half of them, as with
    servers that return text."""
    last: Counter[int] = Counter()
    for source in sources:
        for row in itertools.islice(source.iter_columns(["response_ids", "finish_reasons"]), QUERIES):
            for ids, reason in zip(row["response_ids"], row["finish_reasons"], strict=True):
                if reason == "stop" and ids:
                    last[ids[-1]] += 1
    for token, count in last.most_common(1):
        if 2 * count > last.total():
            return token
    return None
