"""A step of GRPO and of TAPO's forms at the paper's scale, without a GPU (see the package's docstring).

python -m benchmarks.at_scale
python -m benchmarks.at_scale --queries 32 --settings grpo,verbatim+guided
python -m benchmarks.at_scale --median-share 0.5 --sigma 0 --errors-from 0.5
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.at_scale.options import Scale
from benchmarks.at_scale.report import BASELINE, table
from benchmarks.at_scale.run import Step, run_setting
from benchmarks.at_scale.settings import UnknownSetting, compose_run, names

FULL = Scale()
POLICY = FULL.policy
FILE_WIDTH = 160
"""Characters of a line in a file."""


def main(
    queries: Annotated[int, typer.Option(help="A multiple of the workers.")] = FULL.queries,
    n: Annotated[int, typer.Option(help="Rollouts of a query.")] = FULL.n,
    response_length: Annotated[int, typer.Option(help="Most tokens of one.")] = FULL.response_length,
    devices: Annotated[int, typer.Option(help="GPUs, each a replica.")] = FULL.devices,
    workers: Annotated[int, typer.Option(help="Agent-loop workers.")] = FULL.workers,
    seed: Annotated[int, typer.Option(help="Of problems, lengths and answers.")] = FULL.seed,
    steps: Annotated[int, typer.Option(help="The last of them is shown.")] = 1,
    deadline: Annotated[float, typer.Option(help="Of the settings with one, simulated seconds.")] = 30.0,
    median_share: Annotated[
        float, typer.Option(help="Of a rollout's length, of the most tokens.")
    ] = POLICY.median_share,
    sigma: Annotated[float, typer.Option(help="Of its logarithm; 0: all are as long.")] = POLICY.sigma,
    errors_from: Annotated[float, typer.Option(help="Earliest place of an error, of a rollout.")] = POLICY.errors_from,
    settings: Annotated[str, typer.Option(help=f"Some of {', '.join(names())}; GRPO is always run.")] = "",
    out: Annotated[Path | None, typer.Option(help="JSON lines of every step.")] = None,
) -> None:
    """Run each setting in a process of its own and print what it cost."""
    if queries % workers:
        raise typer.BadParameter(f"{queries} queries cannot be dealt evenly to {workers} workers")
    scale = Scale(
        queries=queries,
        n=n,
        response_length=response_length,
        devices=devices,
        workers=workers,
        seed=seed,
        policy=replace(POLICY, median_share=median_share, sigma=sigma, errors_from=errors_from),
    )
    chosen = [name for name in settings.split(",") if name] or names()
    console, found = Console(), {}
    if not console.is_terminal:
        console.width = FILE_WIDTH
    for name in dict.fromkeys([BASELINE, *chosen]):
        try:
            compose_run(name, scale, "task", steps=steps, deadline_s=deadline)
        except UnknownSetting as refusal:
            console.print(f"{name} is left out: {refusal}", markup=False)
            continue
        found[name] = in_own_process(name, scale, steps, deadline)
        if out is not None:
            with out.open("a") as lines:
                lines.writelines(json.dumps({"setting": name, **vars(step)}) + "\n" for step in found[name])
        console.print(table(found, scale))


def in_own_process(name: str, scale: Scale, steps: int, deadline: float) -> list[Step]:
    """The steps of a setting; memory and Ray are those of a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [Step(**step) for step in pool.submit(run_setting, name, scale, steps, deadline).result()]


if __name__ == "__main__":
    typer.run(main)
