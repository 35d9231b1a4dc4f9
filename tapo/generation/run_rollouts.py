"""`tapo rollout`: K scored responses to each query of the data, into a store that only grows."""

import asyncio
import functools
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from tapo.chat import load_tokenizer, prompt_ids
from tapo.core.prompts import construction_messages
from tapo.core.reconstruction import response_text
from tapo.data.queries import QueryFiles, some
from tapo.data.query import Query
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import fingerprint_of_model
from tapo.files.model_folder import half_written
from tapo.generation.engine import Engine, Sampling, derived_seed
from tapo.generation.first_look import QUERIES, FirstLook, ResponseCounts, say_what_is_wrong
from tapo.generation.options import RolloutOptions
from tapo.generation.scoring import Judgement, Scorer
from tapo.generation.stream import fill_store
from tapo.options import ConfigError
from tapo.terminal import Progress, say

SHOWN = 60
"""Characters of a prompt's end that are printed."""

_warn = functools.partial(say, style="yellow")


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


def run_rollouts(options: RolloutOptions, console: Console) -> None:
    """Sample what the store lacks.

    Raises:
        ValueError: data, model, reward or an option that cannot work, or a store made with other ones.
        NothingCorrect: none of the responses to the store's first queries is correct.
    """
    scorer = Scorer(options)
    data = QueryFiles(options.data, options)
    store = RolloutStore.open_for_append(options.out, rollout_fingerprint(options, data))
    total, one_each = _look_over(data, options.limit, console)
    done = store.done()
    if len(done) >= total:
        say(f"{options.out} holds rollouts of all {total} queries", console)
        return
    if not options.server and (told := half_written(options.model)):
        raise ConfigError("--model", options.model, told)
    task = RolloutTask(options, data, scorer, load_tokenizer(options.model))
    if next(task.left(done, RolloutReport()), None) is None:
        say(f"{options.out} holds rollouts of all queries that can be sampled, {len(done)} of {total}", console)
        return
    asyncio.run(_sample_and_report(task, store, total, one_each, console))


async def _sample_and_report(
    task: RolloutTask, store: RolloutStore, total: int, one_each: Sequence[Query], console: Console
) -> None:
    options, look = task.options, FirstLook(options=task.options)

    def render(prompt: Sequence[Mapping[str, str]]) -> str:
        return task.tokenizer.decode(task.prompt_ids(prompt))

    def watch(rollouts: QueryRollouts, judgements: Sequence[Judgement]) -> None:
        if look.queries < QUERIES:
            look.add(rollouts, judgements)
            if look.queries == QUERIES:
                say_what_is_wrong(look, render, console)

    # Whether the model is to think, for one, shows here.
    say(f"prompts end with {render(one_each[0].prompt)[-SHOWN:]!r}", console)
    look.read(store)
    if look.queries >= QUERIES:
        say_what_is_wrong(look, render, console)
    await try_reward(one_each, task.scorer)
    engine = options.start(task.tokenizer, options.max_prompt_tokens + options.max_tokens)
    try:
        with Progress("rollouts", total, console) as progress:
            report = await sample_rollouts(task, store, engine, progress, watch)
    finally:
        await engine.close()
    if look.queries < QUERIES:
        say_what_is_wrong(look, render, console, keep_going=True)
    _print_report(report, options.max_prompt_tokens, console)


async def sample_rollouts(
    task: RolloutTask,
    store: RolloutStore,
    engine: Engine,
    progress: Progress,
    watch: Callable[[QueryRollouts, Sequence[Judgement]], None] = lambda rollouts, judgements: None,
) -> RolloutReport:
    """Fill the store with the queries that it lacks; see `fill_store`. `watch` is told of every query that was sampled;
    an exception of it ends the sampling, with that query kept."""
    options, report = task.options, RolloutReport()
    judged: dict[str, list[Judgement]] = {}

    async def work(item: tuple[Query, list[int]]) -> QueryRollouts:
        rollouts, judged[item[0].index] = await task.sample(engine, *item)
        return rollouts

    def seen(rollouts: QueryRollouts) -> None:
        report.count(rollouts, options.reward_threshold)
        progress.advance()
        watch(rollouts, judged.pop(rollouts.index))

    left = task.left(store.done(), report, lambda: progress.advance(done_before=True))
    await fill_store(store, left, work, at_once=options.at_once, part_size=options.part_size, seen=seen)
    return report


async def try_reward(queries: Iterable[Query], scorer: Scorer) -> None:
    """Score the ground truths of a few queries as if they were responses, before a model is loaded: a reward that
    cannot work for this data raises here, as `Scorer.judge` does."""
    for query in queries:
        if query.has_truth or not scorer.needs_truth:
            await scorer.judge(response=query.truth_text, **query.scoring)


def rollout_fingerprint(options: RolloutOptions, data: QueryFiles) -> dict[str, Any]:
    """What decides about rollouts; runs that differ in it do not mix."""
    return {
        "data": data.fingerprint(),
        "model": fingerprint_of_model(options.model),
        "sampling": options.part(Sampling),
        **{key: getattr(options, key) for key in ("n", "seed", "template", "max_prompt_tokens")},
        "reward": options.reward_fingerprint,
    }


def _look_over(data: QueryFiles, limit: int | None, console: Console) -> tuple[int, list[Query]]:
    """Say which rows are no queries; return how many queries there are, and the first one of each data source."""
    total = 0
    conversations: list[str] = []
    texts: set[int] = set()
    sources: dict[str, Query] = {}
    for query in itertools.islice(data, limit):
        total += 1
        sources.setdefault(query.data_source, query)
        texts.add(hash((query.data_source, str(query.prompt), query.truth_text)))
        try:
            construction_messages(query.prompt, wrong="", correct="")
        except ValueError:
            conversations.append(query.index)
    if data.unusable:
        _warn(f"{data.unusable.total()} of {data.rows} rows of {data} are left out: {data.reasons()}", console)
    if data.repeated:
        _warn(f"{data.repeated} of {data.rows} rows of {data} repeat a query, which is sampled once", console)
    if len(texts) < total:
        _warn(
            f"{total - len(texts)} of {total} queries have prompt and answer of another one under another index or "
            "extra_info: each is sampled",
            console,
        )
    if conversations:
        _warn(
            f"{some(conversations)} have other turns than system messages before the question: they get rollouts, "
            "and no trajectory can be built from these",
            console,
        )
    return total, list(sources.values())


def _print_report(report: RolloutReport, max_prompt_tokens: int, console: Console) -> None:
    said = f"{report.queries} queries sampled, {report.there} were there"
    if report.responses:
        said += f"; {report.responses} responses, {report.correct / report.responses:.1%} correct"
        said += f", {report.truncated / report.responses:.1%} cut off at their length"
    say(said, console)
    if report.overlong:
        _warn(f"{some(report.overlong)} left out, with prompts of more than {max_prompt_tokens} tokens", console)
    if report.without_truth:
        _warn(f"{some(report.without_truth)} left out, with an empty reward_model.ground_truth", console)
