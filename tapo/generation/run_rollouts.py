"""`tapo rollout` as a whole: reads the data, tries the reward, starts the engine, samples, reports."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from tapo.chat import load_tokenizer
from tapo.core.prompts import construction_messages
from tapo.data.queries import QueryFiles, some
from tapo.data.query import Query
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import fingerprint_of_model
from tapo.generation.engine import Sampling
from tapo.generation.first_look import QUERIES, FirstLook, say_what_is_wrong
from tapo.generation.options import RolloutOptions
from tapo.generation.sampling import RolloutReport, RolloutTask, sample_rollouts, try_reward
from tapo.generation.scoring import Judgement, Scorer
from tapo.terminal import Progress, say

SHOWN = 60
"""Characters of a prompt's end that are printed."""


def run_rollouts(options: RolloutOptions, console: Console) -> None:
    """Sample what the store lacks.

    Raises:
        ValueError: data, model, reward or an option that cannot work, or a store made with other ones.
        NothingCorrect: none of the responses to the store's first queries is correct.
    """
    scorer = Scorer(options.reward)
    data = QueryFiles(options.data, options)
    store = RolloutStore.open_for_append(options.out, rollout_fingerprint(options, data))
    total, one_each = _look_over(data, options.limit, console)
    if len(store.done()) >= total:
        say(f"{options.out} holds rollouts of all {total} queries", console)
        return
    task = RolloutTask(options, data, scorer, load_tokenizer(options.model))
    if next(task.left(store.done(), RolloutReport()), None) is None:
        said = f"{options.out} holds rollouts of all queries that can be sampled, {len(store.done())} of {total}"
        say(said, console)
        return
    asyncio.run(_sample_and_report(task, store, total, one_each, console))


async def _sample_and_report(
    task: RolloutTask, store: RolloutStore, total: int, one_each: Sequence[Query], console: Console
) -> None:
    options = task.options

    def render(prompt: Sequence[Mapping[str, str]]) -> str:
        return task.tokenizer.decode(task.prompt_ids(prompt))

    # Whether the model is to think, for one, shows here.
    shown = render(one_each[0].prompt)[-SHOWN:]
    say(f"prompts end with {shown!r}", console)
    look = FirstLook(options=options)
    look.read(store)
    if look.queries >= QUERIES:
        say_what_is_wrong(look, render, console)
    await try_reward(one_each, task.scorer)

    def watch(rollouts: QueryRollouts, judgements: Sequence[Judgement]) -> None:
        if look.queries < QUERIES:
            look.add(rollouts, judgements)
            if look.queries == QUERIES:
                say_what_is_wrong(look, render, console)

    engine = options.start(task.tokenizer, options.max_prompt_tokens + options.max_tokens)
    try:
        with Progress("rollouts", total, console) as progress:
            report = await sample_rollouts(task, store, engine, progress, watch)
    finally:
        await engine.close()
    if look.queries < QUERIES:
        say_what_is_wrong(look, render, console, keep_going=True)
    print_report(report, options.max_prompt_tokens, console)


def rollout_fingerprint(options: RolloutOptions, data: QueryFiles) -> dict[str, Any]:
    """What decides about rollouts; runs that differ in it do not mix."""
    return {
        "data": data.fingerprint(),
        "model": fingerprint_of_model(options.model),
        "sampling": options.part(Sampling),
        "n": options.n,
        "seed": options.seed,
        "template": options.template,
        "max_prompt_tokens": options.max_prompt_tokens,
        "reward": options.reward.fingerprint,
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
        if not _can_be_constructed(query):
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


def _can_be_constructed(query: Query) -> bool:
    try:
        construction_messages(query.prompt, wrong="", correct="")
    except ValueError:
        return False
    return True


def print_report(report: RolloutReport, max_prompt_tokens: int, console: Console) -> None:
    """Counts of one call."""
    said = f"{report.queries} queries sampled, {report.there} were there"
    if report.responses:
        said += f"; {report.responses} responses, {report.correct / report.responses:.1%} correct"
        said += f", {report.truncated / report.responses:.1%} cut off at their length"
    say(said, console)
    if report.overlong:
        _warn(f"{some(report.overlong)} left out, with prompts of more than {max_prompt_tokens} tokens", console)
    if report.without_truth:
        _warn(f"{some(report.without_truth)} left out, with an empty reward_model.ground_truth", console)


def _warn(text: str, console: Console) -> None:
    say(text, console, "yellow")
