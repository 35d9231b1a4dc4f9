"""`tapo cold-start build` with everything decided: opens stores, starts the engine, and runs the stages."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.chat import load_tokenizer
from tapo.cold_start.answering import Actor, EngineActor, FunctionActor
from tapo.cold_start.build import construct_all, count_queries, mix
from tapo.cold_start.construct import ConstructionTask, Limits
from tapo.cold_start.ending import end_token
from tapo.cold_start.mixture import Recipe
from tapo.cold_start.store import ConstructionStore
from tapo.core.prompts import CONSTRUCTION_PROMPT, check_template
from tapo.data.rollout_store import RolloutStore
from tapo.files.fingerprint import differences, fingerprint_of_model
from tapo.files.markers import is_complete, stage
from tapo.generation.engine import Engine, Sampling
from tapo.generation.options import EngineOptions
from tapo.generation.progress import Progress
from tapo.generation.scoring import Scorer


@dataclass(frozen=True)
class BuildOptions:
    """The command's options."""

    rollouts: Sequence[Path]
    out: Path
    engine: EngineOptions
    sampling: Sampling
    max_model_len: int
    template_kwargs: Mapping[str, Any]
    limits: Limits
    recipe: Recipe
    prompt_file: Path | None
    answers: str | None
    at_once: int
    part_size: int
    reward: str

    def prompt(self) -> str:
        """The construction prompt's template.

        Raises:
            ValueError: the file cannot be read, or its placeholders are wrong.
        """
        if self.prompt_file is None:
            return CONSTRUCTION_PROMPT
        try:
            return check_template(self.prompt_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"prompt_file = {str(self.prompt_file)!r} cannot work: {error}") from error


def run_build(options: BuildOptions, scorer: Scorer, console: Console) -> None:
    """Construct what is missing, then mix if anything changed.

    Raises:
        ValueError: an option that cannot work, or a store made with other ones.
    """
    sources = [RolloutStore.open(path) for path in options.rollouts]
    total = count_queries(sources)
    check_sources(sources, {"template": dict(options.template_kwargs), "reward": options.reward})
    template = options.prompt()
    teacher = FunctionActor(options.answers) if options.answers else None
    fingerprint = construction_fingerprint(options, sources, template, teacher)
    store = ConstructionStore.open_for_append(options.out / "constructions", fingerprint)
    if len(store.done()) < total:
        tokenizer = load_tokenizer(options.engine.model)

        def task(actor: Actor) -> ConstructionTask:
            return ConstructionTask(actor, scorer, tokenizer, template, options.limits, options.recipe.seed)

        asyncio.run(_construct(options, sources, store, task, teacher, tokenizer, total, console))
    facts = {"constructions": store.content_fingerprint(), "recipe": asdict(options.recipe)}
    output = options.out / "train.parquet"
    if is_complete(output, facts, console):
        console.print(f"{output} is complete", highlight=False, soft_wrap=True)
        return
    with stage(output, facts):
        facts = {"model_path": options.engine.model, **fingerprint}
        mix(store, options.recipe, options.out, facts, console, end_token=end_token(sources))


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
    """What decides about constructions. Rollouts may still be added to the sources: finished queries stay right."""
    answers = {"answers": teacher.fingerprint} if teacher else {"sampling": options.sampling.fingerprint()}
    return {
        "rollouts": [source.fingerprint for source in sources],
        "model": fingerprint_of_model(options.engine.model),
        "prompt": template,
        "limits": asdict(options.limits),
        "template": dict(options.template_kwargs),
        "max_model_len": options.max_model_len,
        "seed": options.recipe.seed,
        "reward": options.reward,
        **answers,
    }


async def _construct(
    options: BuildOptions,
    sources: Sequence[RolloutStore],
    store: ConstructionStore,
    task: Any,
    teacher: FunctionActor | None,
    tokenizer: Any,
    total: int,
    console: Console,
) -> None:
    engine: Engine | None = None
    actor: Actor
    if teacher:
        actor = teacher
    else:
        engine = options.engine.start(tokenizer)
        actor = EngineActor(
            engine,
            tokenizer,
            options.sampling,
            max_model_len=options.max_model_len,
            template_kwargs=options.template_kwargs,
        )
    try:
        with Progress("constructions", total, console) as progress:
            await construct_all(
                sources, store, task(actor), at_once=options.at_once, part_size=options.part_size, progress=progress
            )
    finally:
        if engine is not None:
            await engine.close()
