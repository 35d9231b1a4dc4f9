"""The whole prompts of a run, which its dumps do not tell."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from tapo.baselines.sft.options import SftDataOptions
from tapo.chat import load_tokenizer, prompt_ids
from tapo.data.options import ColumnOptions
from tapo.data.queries import QueryFiles
from tapo.data.query import Query

UNKNOWN = "its query is in none of the data files"
AMBIGUOUS = "several queries of the data files read like its own"


class UnknownQuery(ValueError):
    """A response whose query cannot be told; the message is the reason."""


class RunPrompts:
    """The queries of a run's parquet files, by what its dumps say of them.

    Raises:
        ValueError: no parquet file, as `QueryFiles`, or no model where its chat template is needed.
    """

    def __init__(self, options: SftDataOptions):
        self._options = options

    def of_construction(self, last_message: str | list) -> Query:
        """By the query's last message; raises `UnknownQuery`."""
        return _only(self._by_message.get(last_message, []) if isinstance(last_message, str) else [])

    def of_rollout(self, prompt: str) -> Query:
        """By the whole prompt as verl's dump of rollouts decodes it; raises `UnknownQuery`."""
        return _only(self._by_prompt.get(prompt, []))

    @cached_property
    def _queries(self) -> list[Query]:
        if not self._options.data:
            raise ValueError("data = () cannot work: a run's dumps know no whole prompt, give its parquet files")
        return list(QueryFiles(self._options.data, self._options.only(ColumnOptions)))

    @cached_property
    def _by_message(self) -> dict[str, list[Query]]:
        return _grouped((query.prompt[-1]["content"], query) for query in self._queries)

    @cached_property
    def _by_prompt(self) -> dict[str, list[Query]]:
        if self._options.model is None:
            raise ValueError("model = None cannot work: by its chat template the prompts of rollouts are told apart")
        tokenizer = load_tokenizer(self._options.model)

        def rendered(query: Query) -> str:
            ids = prompt_ids(query.prompt, tokenizer, self._options.template)
            return tokenizer.decode(ids, skip_special_tokens=True)  # as verl's dump

        return _grouped((rendered(query), query) for query in self._queries)


def _grouped(pairs: Iterable[tuple[str, Query]]) -> dict[str, list[Query]]:
    found: dict[str, list[Query]] = {}
    for text, query in pairs:
        found.setdefault(text, []).append(query)
    return found


def _only(queries: Sequence[Query]) -> Query:
    if not queries:
        raise UnknownQuery(UNKNOWN)
    if any(query.prompt != queries[0].prompt for query in queries):
        raise UnknownQuery(AMBIGUOUS)
    return queries[0]
