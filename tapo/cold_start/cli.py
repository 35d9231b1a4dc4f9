"""`tapo cold-start`: from scored rollouts to the data of the cold start."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tapo.generation import options
from tapo.generation.scoring import DEFAULT_NAME, DEFAULT_PATH

app = typer.Typer(help="Corrective trajectories and chats for verl's SFT trainer.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keeps `build` a subcommand."""


@app.command()
def build(
    rollouts: Annotated[list[Path], typer.Argument(help="Folders of scored rollouts (`tapo rollout`).")],
    model: options.Model,
    out: Annotated[Path, typer.Option(help="Folder of everything written; started again, it is gone on with.")],
    sft: Annotated[int, typer.Option(help="Query -> response examples.")] = 30_000,
    ift: Annotated[int, typer.Option(help="Construction prompt -> tagged answer examples.")] = 15_000,
    plain_share: Annotated[float, typer.Option(help="Of the SFT examples, plain correct responses.")] = 0.5,
    val_share: Annotated[float, typer.Option(help="Of the queries, held out.")] = 0.02,
    n_pos: Annotated[int, typer.Option(help="Least correct responses of a query.")] = 1,
    n_neg: Annotated[int, typer.Option(help="Least wrong responses of a query.")] = 1,
    attempts: Annotated[int, typer.Option(help="Tries a query; the first good one wins.")] = 4,
    max_response_tokens: Annotated[int, typer.Option(help="Of a trajectory.")] = 8192,
    min_prefix_tokens: Annotated[int, typer.Option(help="Least tokens kept of the wrong response.")] = 1,
    min_prefix_share: Annotated[
        float, typer.Option(help="Least share kept of the wrong response where no reflection follows.")
    ] = 0.1,
    require_reflection: Annotated[
        bool, typer.Option(help="Drop trajectories in which no reflection is recognised.")
    ] = True,
    max_tokens: Annotated[int, typer.Option(help="Of an answer to the construction prompt.")] = 12_288,
    max_model_len: Annotated[int, typer.Option(help="Of construction prompt and answer together.")] = 32_768,
    temperature: Annotated[float, typer.Option(help="Of answers to the construction prompt.")] = 1.0,
    threshold: Annotated[float, typer.Option(help="A response is right iff its score is greater.")] = 0.5,
    prompt_file: Annotated[Path | None, typer.Option(help="As algorithm.tapo.construction.prompt_file.")] = None,
    answers: Annotated[
        str | None, typer.Option(help="FILE.py:FUNCTION that answers the construction prompt instead of the model.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every choice.")] = 1,
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
) -> None:
    """Trajectories from wrong rollouts, then SFT and IFT chats with a datasheet."""
    from tapo.cold_start.construct import Limits
    from tapo.cold_start.mixture import Recipe
    from tapo.cold_start.stages import BuildOptions, run_build
    from tapo.generation.engine import Sampling
    from tapo.generation.scoring import Reward, Scorer

    reward = Reward(reward_path, reward_name, options.key_values("reward_kwarg", reward_kwarg), correct_key)
    run_build(
        BuildOptions(
            rollouts=rollouts,
            out=out,
            engine=options.engine_options(model, server, served_name, engine, max_model_len),
            sampling=Sampling(temperature, 1.0, max_tokens),
            max_model_len=max_model_len,
            template_kwargs=options.template_kwargs(template),
            limits=Limits(
                n_pos,
                n_neg,
                attempts,
                max_response_tokens,
                min_prefix_tokens,
                threshold,
                min_prefix_share,
                require_reflection,
            ),
            recipe=Recipe(sft, ift, plain_share, val_share, seed),
            prompt_file=prompt_file,
            answers=answers,
            at_once=at_once,
            part_size=part_size,
            reward=reward.fingerprint,
        ),
        Scorer(reward),
        Console(),
    )
