"""`tapo cold-start build`: opens stores, starts the engine, constructs, mixes, describes."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.chat import load_tokenizer
from tapo.cold_start.answering import Actor, EngineActor, FunctionActor
from tapo.cold_start.chats import END_KEY, FORM_KEY, TEMPLATE_KEY, end_token, write_chats
from tapo.cold_start.construct import ConstructionTask
from tapo.cold_start.datasheet import Tally, datasheet, write_datasheet
from tapo.cold_start.options import BuildOptions, Limits, Recipe
from tapo.cold_start.store import KEPT, ConstructionStore
from tapo.config import FormOptions
from tapo.core.asking import TokenBudget
from tapo.core.check import FunctionCheck
from tapo.core.form import PAPER_FORM, Form
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files.fingerprint import differences, fingerprint_of_model
from tapo.files.markers import is_complete, stage
from tapo.functions import fingerprint_of_function, function_given
from tapo.generation.engine import Sampling
from tapo.generation.scoring import Scorer
from tapo.generation.stream import fill_store
from tapo.terminal import Progress, say


def run_build(options: BuildOptions, console: Console) -> None:
    """Construct what is missing, then mix if anything changed.

    Raises:
        ValueError: no rollouts, an option that cannot work, or a store made with other ones.
    """
    scorer = Scorer(options)
    sources = [RolloutStore.open(path) for path in options.rollouts]
    total = sum(len(source.done()) for source in sources)
    if not total:
        raise ValueError(f"{', '.join(str(source.folder) for source in sources)}: no rollouts yet, run `tapo rollout`")
    check_sources(sources, {"template": options.template, "reward": options.reward_fingerprint})
    prompts = options.prompts()
    teacher = FunctionActor(options.answers) if options.answers else None
    check = FunctionCheck(function_given(options.check, key="check")) if options.check else None
    fingerprint = construction_fingerprint(options, sources, prompts, teacher)
    store = ConstructionStore.open_for_append(options.out / "constructions", fingerprint)
    if len(store.done()) < total:
        with Progress("constructions", total, console) as progress:
            asyncio.run(_construct(options, sources, store, scorer, prompts, teacher, check, progress))
    output, recipe = options.out / "train.parquet", options.only(Recipe)
    form = {"form": options.part(FormOptions), "prompts": list(prompts.values())}
    facts = {"constructions": store.content_fingerprint(), "recipe": options.part(Recipe), **form}
    if is_complete(output, facts, console):
        say(f"{output} is complete", console)
        return
    with stage(output, facts):
        facts = {"model_path": options.model, **fingerprint, **form}
        mix(store, recipe, options.out, facts, console, prompts, end_token=end_token(sources))


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
    options: BuildOptions,
    sources: Sequence[RolloutStore],
    prompts: Mapping[Form, str],
    teacher: FunctionActor | None,
) -> dict[str, Any]:
    """What decides about constructions. Rollouts may still be added to the sources: finished queries stay."""
    asked = next(iter(prompts))
    # What is new is said only where it is not as it was: a store that was made before is gone on with.
    form = {} if asked == PAPER_FORM else {"asked": asked._asdict()}
    engine = {"sampling": options.part(Sampling), **form}
    answers: dict[str, Any] = {"answers": teacher.fingerprint} if teacher else engine
    if options.check is not None:
        answers["check"] = {"function": fingerprint_of_function(options.check), "action": options.check_action}
    return {
        "rollouts": [source.fingerprint for source in sources],
        "model": fingerprint_of_model(options.model),
        "prompt": prompts[asked],
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
    prompts: Mapping[Form, str],
    teacher: FunctionActor | None,
    check: FunctionCheck | None,
    progress: Progress,
) -> None:
    tokenizer = load_tokenizer(options.model)
    asked, template = next(iter(prompts.items()))
    budget = TokenBudget(options.response_length, options.max_model_len, options.max_tokens)
    async with contextlib.AsyncExitStack() as stack:
        actor: Actor | None = teacher
        if actor is None:
            engine = options.start(tokenizer, options.max_model_len)
            stack.push_async_callback(engine.close)
            actor = EngineActor(engine, tokenizer, options, budget, options.template, asked)
        drops = options.check_action == "drop"
        task = ConstructionTask(actor, scorer, tokenizer, template, options, options.seed, asked, check, drops)
        left = queries_left(sources, store.done(), progress)
        limits = {"at_once": options.at_once, "part_size": options.part_size}
        await fill_store(store, left, task, seen=lambda query: progress.advance(), **limits)


def queries_left(sources: Sequence[RolloutStore], done: set[str], progress: Progress) -> Iterator[QueryRollouts]:
    """Those that are not done; ValueError where two sources hold the same query."""
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


def mix(
    store: ConstructionStore,
    recipe: Recipe,
    folder: Path,
    facts: Mapping[str, Any],
    console: Console,
    prompts: Mapping[Form, str],
    *,
    end_token: int | None = None,
) -> None:
    """Write chats and datasheet, and say where the data gives fewer than asked for."""
    known = {TEMPLATE_KEY: facts["template"], END_KEY: end_token, FORM_KEY: facts["form"]}
    tally = Tally()
    choice, counts = write_chats(store, recipe, folder, prompts, known, tally.add)
    sheet = datasheet(tally, choice, recipe, counts, facts)
    write_datasheet(sheet, folder)
    for line in sheet["short"]:
        say(line, console, "yellow")
    attempts = sheet["attempts"]
    say(f"{attempts.get(KEPT, 0)} trajectories from {sum(attempts.values())} attempts", console)
    for reason, count in sorted(attempts.items()):
        if reason != KEPT:
            say(f"  rejected, {reason}: {count}", console)
    say(f"{sheet['chats']['total']} chats in {folder}, described in {folder / 'datasheet.md'}", console)
