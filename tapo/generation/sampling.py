"""K scored responses to each query of a data set, into a store that only grows."""

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tapo.chat import prompt_ids
from tapo.core.reconstruction import response_text
from tapo.data.queries import QueryFiles
from tapo.data.query import Query
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.generation.engine import Engine, derived_seed
from tapo.generation.options import RolloutOptions
from tapo.generation.scoring import Judgement, Scorer
from tapo.generation.stream import fill_store
from tapo.terminal import Progress

Watch = Callable[[QueryRollouts, Sequence[Judgement]], None]
"""Told of every query that was sampled; an exception of it ends the sampling, with that query kept."""


@dataclass
class ResponseCounts:
    """Sampled queries, and their responses by outcome."""

    queries: int = 0
    responses: int = 0
    correct: int = 0
    truncated: int = 0

    def count(self, rollouts: QueryRollouts, reward_threshold: float) -> None:
        """Add a query."""
        self.queries += 1
        self.responses += len(rollouts.scores)
        self.correct += sum(score > reward_threshold for score in rollouts.scores)
        self.truncated += sum(reason == "length" for reason in rollouts.finish_reasons)


@dataclass
class RolloutReport(ResponseCounts):
    """What a call of `sample_rollouts` did."""

    there: int = 0
    overlong: list[str] = field(default_factory=list)
    """Indices of queries whose prompt is longer than allowed: they get no rollouts."""
    without_truth: list[str] = field(default_factory=list)
    """Indices of queries without an answer, which the reward compares with: they get no rollouts."""


@dataclass(frozen=True)
class RolloutTask:
    """How the queries of the data become `QueryRollouts`."""

    options: RolloutOptions
    data: QueryFiles
    scorer: Scorer
    tokenizer: Any

    def prompt_ids(self, prompt: Sequence[Mapping[str, str]]) -> list[int]:
        """A prompt as the model is given it."""
        return prompt_ids(prompt, self.tokenizer, self.options.template)

    def left(
        self, done: Container[str], report: RolloutReport, skip: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[Query, list[int]]]:
        """Queries to sample, with their prompts' ids; the others are counted in `report`, and `skip` told of each."""
        for query in itertools.islice(self.data, self.options.limit):
            if query.index in done:
                report.there += 1
            elif self.scorer.needs_truth and not query.has_truth:
                report.without_truth.append(query.index)
            elif len(ids := self.prompt_ids(query.prompt)) > self.options.max_prompt_tokens:
                report.overlong.append(query.index)
            else:
                yield query, ids
                continue
            skip()

    async def sample(self, engine: Engine, query: Query, ids: list[int]) -> tuple[QueryRollouts, list[Judgement]]:
        """Sample and score one query."""
        seed = derived_seed(self.options.seed, query.index)
        samples = await engine.sample(ids, self.options, n=self.options.n, seed=seed)
        texts = [response_text(sample.ids, self.tokenizer)[1] for sample in samples]
        judgements = [await self.scorer.judge(response=text, **query.scoring) for text in texts]
        rollouts = QueryRollouts(
            index=query.index,
            data_source=query.data_source,
            prompt=query.prompt,
            ground_truth=query.truth_text,
            responses=texts,
            response_ids=[sample.ids for sample in samples],
            finish_reasons=[sample.finish_reason for sample in samples],
            scores=[judgement.score for judgement in judgements],
            reward_inputs=query.reward_inputs,
        )
        return rollouts, judgements


async def sample_rollouts(
    task: RolloutTask,
    store: RolloutStore,
    engine: Engine,
    progress: Progress,
    watch: Watch = lambda rollouts, judgements: None,
) -> RolloutReport:
    """Fill the store with the queries that it lacks; see `fill_store`."""
    report = RolloutReport()
    judged: dict[str, list[Judgement]] = {}

    async def work(item: tuple[Query, list[int]]) -> QueryRollouts:
        rollouts, judgements = await task.sample(engine, *item)
        judged[rollouts.index] = judgements
        return rollouts

    def seen(rollouts: QueryRollouts) -> None:
        report.count(rollouts, task.options.reward_threshold)
        progress.advance()
        watch(rollouts, judged.pop(rollouts.index))

    options = task.options
    left = task.left(store.done(), report, lambda: progress.advance(done_before=True))
    await fill_store(store, left, work, at_once=options.at_once, part_size=options.part_size, seen=seen)
    return report


async def try_reward(queries: Iterable[Query], scorer: Scorer) -> None:
    """Score the ground truths of a few queries as if they were responses, before a model is loaded: a reward that
    cannot work for this data raises here.

    Raises:
        ValueError, RewardFailed: see `Scorer.judge`.
    """
    for query in queries:
        if query.has_truth or not scorer.needs_truth:
            await scorer.judge(response=query.truth_text, **query.scoring)
