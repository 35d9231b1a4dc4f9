"""`tapo cold-start build`: opens stores, starts the engine, constructs, mixes, describes."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.chat import load_tokenizer
from tapo.cold_start.answering import Actor, EngineActor, FunctionActor
from tapo.cold_start.chats import END_KEY, TEMPLATE_KEY, write_chats
from tapo.cold_start.construct import ConstructionTask
from tapo.cold_start.datasheet import datasheet, write_datasheet
from tapo.cold_start.ending import end_token
from tapo.cold_start.options import BuildOptions, Limits, Recipe
from tapo.cold_start.store import ConstructionStore
from tapo.core.prompts import CONSTRUCTION_PROMPT, check_template
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import differences, fingerprint_of_model
from tapo.files.markers import is_complete, stage
from tapo.generation.engine import Engine, Sampling
from tapo.generation.scoring import Scorer
from tapo.generation.stream import fill_store
from tapo.terminal import Progress, say


def run_build(options: BuildOptions, console: Console) -> None:
    """Construct what is missing, then mix if anything changed.

    Raises:
        ValueError: an option that cannot work, or a store made with other ones.
    """
    scorer = Scorer(options)
    sources = [RolloutStore.open(path) for path in options.rollouts]
    total = count_queries(sources)
    check_sources(sources, {"template": options.template, "reward": options.reward_fingerprint})
    template = construction_prompt(options.prompt_file)
    teacher = FunctionActor(options.answers) if options.answers else None
    fingerprint = construction_fingerprint(options, sources, template, teacher)
    store = ConstructionStore.open_for_append(options.out / "constructions", fingerprint)
    if len(store.done()) < total:
        with Progress("constructions", total, console) as progress:
            asyncio.run(_construct(options, sources, store, scorer, template, teacher, progress))
    output, recipe = options.out / "train.parquet", options.only(Recipe)
    facts = {"constructions": store.content_fingerprint(), "recipe": options.part(Recipe)}
    if is_complete(output, facts, console):
        say(f"{output} is complete", console)
        return
    with stage(output, facts):
        facts = {"model_path": options.model, **fingerprint}
        mix(store, recipe, options.out, facts, console, end_token=end_token(sources))


def construction_prompt(file: Path | None) -> str:
    """The construction prompt's template.

    Raises:
        ValueError: the file cannot be read, or its placeholders are wrong.
    """
    if file is None:
        return CONSTRUCTION_PROMPT
    try:
        return check_template(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"prompt_file = {str(file)!r} cannot work: {error}") from error


def check_sources(sources: Sequence[RolloutStore], facts: Mapping[str, Any]) -> None:
    """Trajectories are trained beside the rollouts: the same chat template and the same reward made both.

    Raises:
        ValueError: a store knows of another one.
    """
    for source in sources:
        known = {key: value for key, value in source.fingerprint.items() if key in facts}
        if changed := differences(known, {key: facts[key] for key in known}):
            raise ValueError(
                f"{source.folder} and this command do not fit together: {'; '.join(changed)}. Give both the same "
                "--template, --reward-path, --reward-name, --reward-kwarg and --correct-key"
            )


def construction_fingerprint(
    options: BuildOptions, sources: Sequence[RolloutStore], template: str, teacher: FunctionActor | None
) -> dict[str, Any]:
    """What decides about constructions. Rollouts may still be added to the sources: finished queries stay."""
    answers = {"answers": teacher.fingerprint} if teacher else {"sampling": options.part(Sampling)}
    return {
        "rollouts": [source.fingerprint for source in sources],
        "model": fingerprint_of_model(options.model),
        "prompt": template,
        "limits": options.part(Limits),
        "template": options.template,
        "max_model_len": options.max_model_len,
        "seed": options.seed,
        "reward": options.reward_fingerprint,
        **answers,
    }


async def _construct(
    options: BuildOptions,
    sources: Sequence[RolloutStore],
    store: ConstructionStore,
    scorer: Scorer,
    template: str,
    teacher: FunctionActor | None,
    progress: Progress,
) -> None:
    tokenizer = load_tokenizer(options.model)
    engine: Engine | None = None
    actor: Actor
    if teacher:
        actor = teacher
    else:
        length = options.max_model_len
        engine = options.start(tokenizer, length)
        actor = EngineActor(engine, tokenizer, options, max_model_len=length, template_kwargs=options.template)
    task = ConstructionTask(actor, scorer, tokenizer, template, options, options.seed)
    try:
        await construct_all(
            sources, store, task, at_once=options.at_once, part_size=options.part_size, progress=progress
        )
    finally:
        if engine is not None:
            await engine.close()


async def construct_all(
    sources: Sequence[RolloutStore],
    store: ConstructionStore,
    task: ConstructionTask,
    *,
    at_once: int,
    part_size: int,
    progress: Progress,
) -> None:
    """Fill `store` with the constructions of each query that it lacks; see `fill_store`.

    Raises:
        ValueError: two sources hold the same query.
    """
    todo = _todo(sources, store.done(), progress)
    await fill_store(store, todo, task, at_once=at_once, part_size=part_size, seen=lambda query: progress.advance())


def _todo(sources: Sequence[RolloutStore], done: set[str], progress: Progress) -> Iterator[QueryRollouts]:
    seen: set[str] = set()
    for source in sources:
        for rollouts in source:
            if rollouts.index in seen:
                raise ValueError(f"query {rollouts.index} is in two stores of rollouts, the second is {source.folder}")
            seen.add(rollouts.index)
            if rollouts.index in done:
                progress.advance(done_before=True)
            else:
                yield rollouts


def count_queries(sources: Sequence[RolloutStore]) -> int:
    """Queries in all sources.

    Raises:
        ValueError: there is none.
    """
    total = sum(len(source.done()) for source in sources)
    if not total:
        raise ValueError(f"{', '.join(str(source.folder) for source in sources)}: no rollouts yet, run `tapo rollout`")
    return total


def mix(
    store: ConstructionStore,
    recipe: Recipe,
    folder: Path,
    facts: Mapping[str, Any],
    console: Console,
    *,
    end_token: int | None = None,
) -> None:
    """Write chats and datasheet, and say where the data gives fewer than asked for."""
    sampled = {TEMPLATE_KEY: facts["template"], END_KEY: end_token}
    choice, counts = write_chats(store, recipe, folder, facts["prompt"], sampled)
    sheet = datasheet(store, choice, recipe, counts, facts)
    write_datasheet(sheet, folder)
    for line in sheet["short"]:
        say(line, console, "yellow")
    attempts = dict(sheet["attempts"])
    tried = sum(attempts.values())
    say(f"{attempts.get('kept', 0)} trajectories from {tried} attempts", console)
    for reason, count in sorted(itertools.filterfalse(lambda item: item[0] == "kept", attempts.items())):
        say(f"  rejected, {reason}: {count}", console)
    say(f"{sheet['chats']['total']} chats in {folder}, described in {folder / 'datasheet.md'}", console)
