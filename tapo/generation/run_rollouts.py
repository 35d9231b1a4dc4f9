"""`tapo rollout` with everything decided: reads the data, tries the reward, starts the engine, samples, reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.chat import load_tokenizer, prompt_ids
from tapo.core.prompts import construction_messages
from tapo.data.queries import QueryFiles
from tapo.data.query import Query
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import fingerprint_of_model
from tapo.generation.engine import Sampling
from tapo.generation.first_look import QUERIES, FirstLook, say
from tapo.generation.options import EngineOptions
from tapo.generation.progress import Progress
from tapo.generation.sampling import RolloutReport, RolloutTask, limited, sample_rollouts, try_reward
from tapo.generation.scoring import Judgement, Scorer

SHOWN = 60
"""Characters of a prompt's end that are printed."""
NAMED = 5
"""Queries that a line names at most."""


@dataclass(frozen=True)
class RolloutOptions:
    """The command's options."""

    data: QueryFiles
    engine: EngineOptions
    out: Path
    sampling: Sampling
    n: int
    seed: int
    template_kwargs: Mapping[str, Any]
    max_prompt_tokens: int
    limit: int | None = None
    threshold: float = 0.5
    keep_going: bool = False
    at_once: int = 256
    part_size: int = 256

    def queries(self) -> Iterator[Query]:
        """Those that are wanted, in the data's order."""
        return limited(self.data, self.limit)


async def run_rollouts(options: RolloutOptions, scorer: Scorer, console: Console) -> None:
    """Sample what the store lacks.

    Raises:
        ValueError: data, model, reward or an option that cannot work, or a store made with other ones.
        NothingRight: none of the responses to the store's first queries is right.
    """
    store = RolloutStore.open_for_append(options.out, rollout_fingerprint(options, scorer))
    total, one_each = _look_over(options, console)
    if len(store.done()) >= total:
        console.print(f"{options.out} holds rollouts of all {total} queries", highlight=False, soft_wrap=True)
        return
    tokenizer = load_tokenizer(options.engine.model)
    if _nothing_left(options, store, scorer, tokenizer):
        said = f"{options.out} holds rollouts of all queries that can be sampled, {len(store.done())} of {total}"
        console.print(said, highlight=False, soft_wrap=True)
        return

    def render(prompt: Sequence[Mapping[str, str]]) -> str:
        return tokenizer.decode(prompt_ids(prompt, tokenizer, options.template_kwargs))

    # Whether the model is to think, for one, shows here.
    shown = render(one_each[0].prompt)[-SHOWN:]
    console.print(f"prompts end with {shown!r}", markup=False, highlight=False, soft_wrap=True)
    look = FirstLook(scorer.reward, options.threshold, options.sampling.max_tokens)
    look.read(store)
    if look.queries >= QUERIES:
        say(look, render, console, keep_going=options.keep_going)
    await try_reward(one_each, scorer)
    report = await _sample(options, store, scorer, tokenizer, look, render, console, total)
    if look.queries < QUERIES:
        say(look, render, console, keep_going=True)
    print_report(report, options.max_prompt_tokens, console)


async def _sample(
    options: RolloutOptions,
    store: RolloutStore,
    scorer: Scorer,
    tokenizer: Any,
    look: FirstLook,
    render: Any,
    console: Console,
    total: int,
) -> RolloutReport:
    def watch(rollouts: QueryRollouts, judgements: Sequence[Judgement]) -> None:
        if look.queries < QUERIES:
            look.add(rollouts, judgements)
            if look.queries == QUERIES:
                say(look, render, console, keep_going=options.keep_going)

    engine = options.engine.start(tokenizer)
    task = RolloutTask(
        engine,
        scorer,
        tokenizer,
        options.sampling,
        options.n,
        options.seed,
        options.template_kwargs,
        options.threshold,
    )
    try:
        with Progress("rollouts", total, console) as progress:
            return await sample_rollouts(
                options.queries(),
                store,
                task,
                max_prompt_tokens=options.max_prompt_tokens,
                at_once=options.at_once,
                part_size=options.part_size,
                progress=progress,
                watch=watch,
            )
    finally:
        await engine.close()


def rollout_fingerprint(options: RolloutOptions, scorer: Scorer) -> dict[str, Any]:
    """What decides about rollouts; runs that differ in it do not mix."""
    return {
        "data": options.data.fingerprint(),
        "model": fingerprint_of_model(options.engine.model),
        "sampling": options.sampling.fingerprint(),
        "n": options.n,
        "seed": options.seed,
        "template": dict(options.template_kwargs),
        "max_prompt_tokens": options.max_prompt_tokens,
        "reward": scorer.reward.fingerprint,
    }


def _nothing_left(options: RolloutOptions, store: RolloutStore, scorer: Scorer, tokenizer: Any) -> bool:
    done = store.done()
    return all(
        query.index in done
        or (scorer.needs_truth and not query.has_truth)
        or len(prompt_ids(query.prompt, tokenizer, options.template_kwargs)) > options.max_prompt_tokens
        for query in options.queries()
    )


def _look_over(options: RolloutOptions, console: Console) -> tuple[int, list[Query]]:
    """Say which rows are no queries; return how many queries there are, and the first one of each data source."""
    total = 0
    conversations: list[str] = []
    texts: set[int] = set()
    sources: dict[str, Query] = {}
    for query in options.queries():
        total += 1
        sources.setdefault(query.data_source, query)
        texts.add(hash((query.data_source, str(query.prompt), query.truth_text)))
        if not _can_be_constructed(query):
            conversations.append(query.index)
    data = options.data
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
            f"{_some(conversations)} have other turns than system messages before the question: they get rollouts, "
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
    said = f"{report.sampled} queries sampled, {report.there} were there"
    if report.responses:
        said += f"; {report.responses} responses, {report.correct / report.responses:.1%} right"
        said += f", {report.truncated / report.responses:.1%} cut off at their length"
    console.print(said, highlight=False, soft_wrap=True)
    if report.overlong:
        _warn(f"{_some(report.overlong)} left out, with prompts of more than {max_prompt_tokens} tokens", console)
    if report.without_truth:
        _warn(f"{_some(report.without_truth)} left out, with an empty reward_model.ground_truth", console)


def _some(indices: Sequence[str]) -> str:
    names = ", ".join(indices[:NAMED]) + (", ..." if len(indices) > NAMED else "")
    return f"{len(indices)} queries ({names})"


def _warn(text: str, console: Console) -> None:
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
