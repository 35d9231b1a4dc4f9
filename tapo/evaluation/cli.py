"""`tapo eval` and `tapo plot`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Evaluate checkpoints, and report from dumps of verl's validation.", no_args_is_help=True)
plot_app = typer.Typer()

Detector = Annotated[Path | None, typer.Option(help="A phrase list (YAML) in place of the one that ships.")]


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="Hugging Face folder or name, or a verl checkpoint.")],
    data: Annotated[list[str], typer.Option(help="FILE.parquet or NAME=FILE.parquet; once for each benchmark.")],
    out: Annotated[Path, typer.Option(help="New folder: manifest.json and BENCHMARK/STEP.jsonl.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Behind `--`: further arguments of verl.trainer.main_ppo.")
    ] = None,
    samples: Annotated[int, typer.Option(help="A problem.")] = 16,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: float = 1.0,
    top_k: Annotated[int, typer.Option(help="-1 is off.")] = -1,
    max_prompt_length: Annotated[int, typer.Option(help="Tokens.")] = 2048,
    max_response_length: Annotated[int, typer.Option(help="Tokens.")] = 8192,
    seed: int = 0,
    gpus: Annotated[int, typer.Option(help="Of this node.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and stop.")] = False,
) -> None:
    """Sample and score a checkpoint on benchmarks through verl's own validation."""
    from tapo.evaluation.protocol import Sampling
    from tapo.evaluation.validation import plan_evaluation, print_commands, run_evaluation

    sampling = Sampling(samples, temperature, top_p, top_k, max_prompt_length, max_response_length)
    plan = plan_evaluation(model, data, out, sampling=sampling, seed=seed, gpus=gpus, extra=overrides or [])
    console = Console()
    if dry_run:
        print_commands(plan, console)
        return
    run_evaluation(plan, console)
    console.print(f"tapo eval report {plan.out}", highlight=False, soft_wrap=True)


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Runs: dumps of `tapo eval run` or of any verl validation.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and plots.")] = None,
    detector: Detector = None,
    step: Annotated[int | None, typer.Option(help="Step to report (default: each run's last).")] = None,
    threshold: Annotated[float, typer.Option(help="A sample is correct iff its acc, else score, is greater.")] = 0.5,
    tokenizer: Annotated[str | None, typer.Option(help="Counts lengths where the dump holds none.")] = None,
    response_limit: Annotated[int | None, typer.Option(help="Tokens at which a response was cut off.")] = None,
    resamples: Annotated[int, typer.Option(help="Of problems, for the intervals.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
) -> None:
    """Pass@k, accuracy, majority vote, DSR, ERR and more with 95 % intervals; each run against the first."""
    from tapo.evaluation.reflection import load_detector
    from tapo.evaluation.render import print_report, write_report
    from tapo.evaluation.report import ReportOptions, build_report

    options = ReportOptions(load_detector(detector), threshold, step, tokenizer, response_limit, resamples, seed)
    console = Console()
    with console.status("reading") as status:
        built = build_report(folders, options, progress=status.update)
    print_report(built, console)
    if out is not None:
        for file in write_report(built, out.expanduser()):
            console.print(file, highlight=False, soft_wrap=True)


@app.command()
def reflections(
    dump: Annotated[Path | None, typer.Argument(help="A STEP.jsonl, or a folder of `tapo eval report`.")] = None,
    detector: Detector = None,
    limit: Annotated[int, typer.Option(help="Responses to show.")] = 5,
    unmatched: Annotated[bool, typer.Option("--unmatched", help="Show responses without a match.")] = False,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    labelled: Annotated[Path | None, typer.Option(help="Hand-labelled examples in place of those that ship.")] = None,
) -> None:
    """What the reflection detector matched on a random sample, and its agreement with hand-labelled examples."""
    from tapo.evaluation.agreement import LABELLED_EXAMPLES, read_labelled
    from tapo.evaluation.detector_samples import print_agreement, print_sample
    from tapo.evaluation.reflection import load_detector

    chosen, console = load_detector(detector), Console()
    if dump is not None:
        print_sample(dump, chosen, console, limit=limit, matched=not unmatched, seed=seed)
    print_agreement(chosen, read_labelled(labelled or LABELLED_EXAMPLES), console)


@app.command()
def constructions(
    labelled: Annotated[
        Path | None, typer.Option(help="Hand-labelled constructions in place of those that ship.")
    ] = None,
    disagreements: Annotated[bool, typer.Option("--disagreements", help="Show where the splicer disagrees.")] = False,
) -> None:
    """How far the splicer agrees with hand-labelled constructions; held-out ones apart."""
    from tapo.evaluation.splicer_agreement import (
        LABELLED_CONSTRUCTIONS,
        LABELS,
        confusion,
        leak_confusion,
        read_constructions,
        table,
        verdict,
    )

    examples = read_constructions(labelled or LABELLED_CONSTRUCTIONS)
    for held_out, title in ((False, "tuned on"), (True, "held out")):
        part = [example for example in examples if example.held_out is held_out]
        if part:
            typer.echo(f"constructions, {title}\n\n{table(confusion(part), LABELS)}\n")
        if labelled is None:
            typer.echo(f"sentences, {title}\n\n{table(leak_confusion(held_out), ('leak', 'clean'))}\n")
    if disagreements:
        for example in examples:
            if (told := verdict(example)) != example.label:
                typer.echo(f"{example.id}: {example.label}, told {told}\n{example.reconstruction}\n")


@plot_app.command()
def plot(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs: metrics.jsonl, a .jsonl file, or TensorBoard events.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for dynamics.png and dynamics.svg.")],
    smooth: Annotated[int, typer.Option(help="Steps of the running mean drawn over the raw line; 1 draws none.")] = 1,
) -> None:
    """Training dynamics: the paper's six panels and the construction funnel, runs beside each other."""
    from tapo.evaluation.dynamics import plot_runs

    console = Console()
    files, notes = plot_runs(runs, out.expanduser(), smooth=smooth)
    for note in notes:
        console.print(f"Note: {note}", markup=False, highlight=False)
    for file in files:
        console.print(file, highlight=False, soft_wrap=True)
