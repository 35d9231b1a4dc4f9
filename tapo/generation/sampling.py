"""K scored responses to each query of a data set, into a store that only grows."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tapo.chat import prompt_ids
from tapo.core.reconstruction import response_text
from tapo.data.query import Query
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.generation.engine import Engine, Sampling, derived_seed
from tapo.generation.progress import Progress
from tapo.generation.scoring import Judgement, Scorer
from tapo.generation.stream import in_order

Watch = Callable[[QueryRollouts, Sequence[Judgement]], None]
"""Told of every query that was sampled; an exception of it ends the sampling, with that query kept."""


@dataclass
class RolloutReport:
    """What a call of `sample_rollouts` did: counts of queries, and of responses by outcome."""

    there: int = 0
    sampled: int = 0
    overlong: list[str] = field(default_factory=list)
    """Indices of queries whose prompt is longer than allowed: they get no rollouts."""
    without_truth: list[str] = field(default_factory=list)
    """Indices of queries without an answer, which the reward compares with: they get no rollouts."""
    responses: int = 0
    correct: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class RolloutTask:
    """How a query becomes `QueryRollouts`."""

    engine: Engine
    scorer: Scorer
    tokenizer: Any
    sampling: Sampling
    n: int
    seed: int
    template_kwargs: Mapping[str, Any]
    threshold: float = 0.5
    """A response counts as right in reports iff its score is greater."""

    async def __call__(self, item: tuple[Query, list[int]]) -> tuple[QueryRollouts, list[Judgement]]:
        """Sample and score one query, given with its prompt's ids."""
        query, ids = item
        samples = await self.engine.sample(ids, self.sampling, n=self.n, seed=derived_seed(self.seed, query.index))
        texts = [response_text(sample.ids, self.tokenizer)[1] for sample in samples]
        judgements = [await judge(self.scorer, query, text) for text in texts]
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


async def judge(scorer: Scorer, query: Query, response: str) -> Judgement:
    """The reward of one response."""
    return await scorer.judge(
        data_source=query.data_source,
        response=response,
        ground_truth=query.ground_truth,
        index=query.index,
        extra_info=query.extra_info,
    )


async def sample_rollouts(
    queries: Iterable[Query],
    store: RolloutStore,
    task: RolloutTask,
    *,
    max_prompt_tokens: int,
    at_once: int,
    part_size: int,
    progress: Progress,
    watch: Watch = lambda rollouts, judgements: None,
) -> RolloutReport:
    """Fill the store with the queries that it lacks, a part whenever `part_size` of them are complete, in their order.

    Killed, it loses the queries of the part under way; started again, it repeats nothing else. What is complete when
    the engine fails, `watch` raises or the user interrupts is written before the exception goes on.
    """
    report, done = RolloutReport(), store.done()

    def todo() -> Iterator[tuple[Query, list[int]]]:
        for query in queries:
            ids: list[int] = []
            if query.index in done:
                report.there += 1
            elif task.scorer.needs_truth and not query.has_truth:
                report.without_truth.append(query.index)
            else:
                ids = prompt_ids(query.prompt, task.tokenizer, task.template_kwargs)
                if len(ids) <= max_prompt_tokens:
                    yield query, ids
                    continue
                report.overlong.append(query.index)
            progress.advance(done_before=True)

    part: list[QueryRollouts] = []
    try:
        async with contextlib.aclosing(in_order(todo(), task, at_once=at_once)) as results:
            async for rollouts, judgements in results:
                part.append(rollouts)
                _count(report, rollouts, task.threshold)
                progress.advance()
                watch(rollouts, judgements)
                if len(part) == part_size:
                    full, part = part, []
                    store.append(full)
    finally:
        store.append(part)
    return report


def _count(report: RolloutReport, rollouts: QueryRollouts, threshold: float) -> None:
    report.sampled += 1
    report.responses += len(rollouts.scores)
    report.correct += sum(score > threshold for score in rollouts.scores)
    report.truncated += sum(reason == "length" for reason in rollouts.finish_reasons)


async def try_reward(queries: Iterable[Query], scorer: Scorer) -> None:
    """Score the ground truths of a few queries as if they were responses, before a model is loaded: a reward that
    cannot work for this data raises here.

    Raises:
        ValueError, RewardFailed: see `Scorer.judge`.
    """
    for query in queries:
        if query.has_truth or not scorer.needs_truth:
            await judge(scorer, query, query.truth_text)


def limited(queries: Iterable[Query], limit: int | None) -> Iterator[Query]:
    """The first `limit` queries; all of them without a limit."""
    return itertools.islice(queries, limit)
