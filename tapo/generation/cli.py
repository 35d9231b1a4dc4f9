"""`tapo rollout`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tapo.data.cli import PromptKey, RewardFnKey
from tapo.generation import options
from tapo.generation.scoring import DEFAULT_NAME, DEFAULT_PATH


def rollout(
    data: Annotated[list[Path], typer.Argument(help="verl parquet files of queries, taken as they are.")],
    model: options.Model,
    out: Annotated[Path, typer.Option(help="Folder of scored rollouts; started again, it is gone on with.")],
    n: Annotated[int, typer.Option(min=1, help="Responses a query.")] = 8,
    temperature: Annotated[float, typer.Option(help="0 samples greedily.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Of a response.")] = 8192,
    max_prompt_tokens: Annotated[int, typer.Option(min=1, help="Longer prompts are left out, and counted.")] = 1024,
    seed: Annotated[int, typer.Option(help="Of all sampling.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many queries alone.")] = None,
    prompt_key: PromptKey = "prompt",
    reward_fn_key: RewardFnKey = "data_source",
    at_once: options.AtOnce = 256,
    part_size: options.PartSize = 256,
    server: options.Server = None,
    served_name: options.ServedName = None,
    engine: options.EngineOption = None,
    template: options.TemplateOption = None,
    reward_path: options.RewardPath = DEFAULT_PATH,
    reward_name: options.RewardName = DEFAULT_NAME,
    reward_kwarg: options.RewardOption = None,
    correct_key: options.CorrectKey = None,
    threshold: Annotated[float, typer.Option(help="A response counts as right iff its score is greater.")] = 0.5,
    keep_going: Annotated[bool, typer.Option(help="Go on where none of the first 64 queries is ever right.")] = False,
) -> None:
    """K responses to each query, scored by the run's reward."""
    from tapo.data.queries import Keys, QueryFiles
    from tapo.generation.engine import Sampling
    from tapo.generation.run_rollouts import RolloutOptions, run_rollouts
    from tapo.generation.scoring import Reward, Scorer

    reward = Reward(reward_path, reward_name, options.key_values("reward_kwarg", reward_kwarg), correct_key)
    chosen = RolloutOptions(
        data=QueryFiles(data, Keys(prompt_key, reward_fn_key)),
        engine=options.engine_options(model, server, served_name, engine, max_prompt_tokens + max_tokens),
        out=out,
        sampling=Sampling(temperature, top_p, max_tokens),
        n=n,
        seed=seed,
        limit=limit,
        template_kwargs=options.template_kwargs(template),
        max_prompt_tokens=max_prompt_tokens,
        threshold=threshold,
        keep_going=keep_going,
        at_once=at_once,
        part_size=part_size,
    )
    asyncio.run(run_rollouts(chosen, Scorer(reward), Console()))
