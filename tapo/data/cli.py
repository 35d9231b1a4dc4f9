"""`tapo data`: from a dataset to the RL data."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tapo.data.instruction import BOXED_INSTRUCTION, instruction_of

app = typer.Typer(help="Datasets for TAPO: prepare, decontaminate, filter by pass rate.", no_args_is_help=True)

NGRAM = typer.Option(min=1, help="Tokens of an n-gram.")
OVERLAP = typer.Option(help="Least share of an evaluation problem's n-grams that counts as a match.")
PromptKey = Annotated[str, typer.Option(help="data.prompt_key of the run.")]
RewardFnKey = Annotated[str, typer.Option(help="data.reward_fn_key of the run.")]
Out = Annotated[Path, typer.Option(help="The parquet file to write.")]


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="deepscaler, aime2024, aime2025, hmmt_feb_2025 or custom.")],
    out: Out,
    source: Annotated[
        str | None, typer.Option(help="File, dataset folder or hub id in place of the known one.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to load; of a custom dataset also its name.")] = None,
    subset: Annotated[str | None, typer.Option(help="Configuration of a folder or hub dataset.")] = None,
    question_column: Annotated[str | None, typer.Option(help="Default: problem.")] = None,
    answer_column: Annotated[str | None, typer.Option(help="Default: answer.")] = None,
    index_column: Annotated[str | None, typer.Option(help="Your own ids; else a hash of the question.")] = None,
    data_source: Annotated[str | None, typer.Option(help="Name in the data_source column; default: NAME.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most problems to write.")] = None,
    check_answers: Annotated[bool, typer.Option(help="Drop answers that math-verify cannot read.")] = False,
    against: Annotated[list[Path] | None, typer.Option(help="Drop problems of this parquet; repeatable.")] = None,
    ngram: Annotated[int, NGRAM] = 8,
    threshold: Annotated[float, OVERLAP] = 0.5,
    instruction: Annotated[
        str, typer.Option(help="Text on a line of its own behind every question; `none` for no such line.")
    ] = BOXED_INSTRUCTION,
    show_dropped: Annotated[int, typer.Option(min=0, help="Dropped rows to print.")] = 0,
) -> None:
    """Problems in any common format to verl's parquet; unusable rows are dropped and counted."""
    from tapo.data.known_datasets import known_dataset
    from tapo.data.prepare import Columns
    from tapo.data.stages import PrepareOptions, run_prepare

    known = known_dataset(name)
    options = PrepareOptions(
        source=source or known.hub_id,
        hub_split=split or known.hub_split,
        subset=subset,
        columns=Columns(question_column or known.question_column, answer_column or known.answer_column, index_column),
        data_source=data_source or name,
        split=known.split if known.hub_id else split or known.split,
        limit=limit,
        check_answers=check_answers,
        against=tuple(against or ()),
        ngram=ngram,
        threshold=threshold,
        instruction=instruction_of(instruction),
    )
    run_prepare(options, out, Console(), show_dropped)


@app.command()
def decontaminate(
    train: Annotated[Path, typer.Argument(help="verl parquet file.")],
    against: Annotated[list[Path], typer.Option(help="Evaluation problems in verl parquet; repeatable.")],
    out: Out,
    report: Annotated[Path | None, typer.Option(help="Dropped queries; default: OUT.contaminated.jsonl.")] = None,
    ngram: Annotated[int, NGRAM] = 8,
    threshold: Annotated[float, OVERLAP] = 0.5,
) -> None:
    """Drop training queries that are evaluation problems, reworded or not, and list them."""
    from tapo.data.decontamination import Decontaminator
    from tapo.data.stages import run_decontaminate

    run_decontaminate(train, against, Decontaminator(ngram, threshold), out, report, Console())


@app.command("filter")
def filter_(
    rollouts: Annotated[Path, typer.Argument(help="Folder of scored rollouts.")],
    data: Annotated[list[Path], typer.Option(help="The verl parquet file that was sampled from; repeatable.")],
    out: Out,
    low: Annotated[float, typer.Option(help="Least pass rate that is kept.")] = 0.125,
    high: Annotated[float, typer.Option(help="Greatest pass rate that is kept.")] = 0.875,
    threshold: Annotated[float, typer.Option(help="A response is right iff its score is greater.")] = 0.5,
    allow_missing: Annotated[bool, typer.Option(help="Leave out queries without rollouts.")] = False,
    prompt_key: PromptKey = "prompt",
    reward_fn_key: RewardFnKey = "data_source",
) -> None:
    """Keep the queries that are neither mastered nor hopeless."""
    from tapo.data.pass_rate import Band
    from tapo.data.queries import Keys, QueryFiles
    from tapo.data.stages import run_filter

    run_filter(
        rollouts,
        QueryFiles(data, Keys(prompt_key, reward_fn_key)),
        out,
        Band(low, high),
        threshold,
        allow_missing,
        Console(),
    )


@app.command()
def repair(rollouts: Annotated[Path, typer.Argument(help="Folder of scored rollouts.")]) -> None:
    """Move parts that cannot be read aside, so that their queries are sampled again."""
    from tapo.data.rollout_store import RolloutStore

    moved = RolloutStore.open(rollouts).repair()
    Console().print(f"{len(moved)} damaged parts", highlight=False)
