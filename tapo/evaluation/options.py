"""The options of `tapo eval` and `tapo plot`: defaults, help and checks."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import model_validator
from typing_extensions import Self

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.options import AtLeastOne, AtLeastZero, ConfigError, Needs, NotNegative, Options

MOST_RESAMPLES = 1_000_000
"""Sums of so many are held at once, one number each for every rate that is reported."""
Resamples = Annotated[
    int,
    Needs(f"an integer from 100 to {MOST_RESAMPLES:,}", lambda number: 100 <= number <= MOST_RESAMPLES),
]
Finite = Annotated[NotNegative, Needs("a number >= 0", lambda number: number < float("inf"))]
TopP = Annotated[float, Needs("a number in (0, 1]", lambda share: 0 < share <= 1)]
TopK = Annotated[int, Needs("-1 (off) or an integer >= 1", lambda number: number == -1 or number >= 1)]


class EvaluationOptions(Options):
    """Messages name an option as the command line does."""

    @classmethod
    def key(cls, path: str) -> str:
        """`--top-p` for `top_p`."""
        return f"--{path.replace('_', '-')}"


class SamplingProtocol(EvaluationOptions):
    """How responses are sampled. The paper names neither; these defaults are ours (docs/evaluation.md)."""

    samples: AtLeastOne = 16
    """A problem."""
    temperature: Finite = 1.0
    """0 is greedy."""
    top_p: TopP = 1.0
    """Share of the probability that is sampled from."""
    top_k: TopK = -1
    """-1 is off."""
    max_prompt_length: AtLeastOne = 2048
    """Tokens; verl cuts longer prompts on the left."""
    max_response_length: AtLeastOne = 8192
    """Tokens."""

    @model_validator(mode="after")
    def _check_greedy(self) -> Self:
        if self.temperature == 0 and self.samples != 1:
            raise ConfigError("samples", self.samples, "needs 1 at --temperature 0, where all samples are equal")
        return self

    def describe(self) -> dict[str, Any]:
        """What a manifest records."""
        settings = {name: getattr(self, name) for name in SamplingProtocol.model_fields}
        return {"n": settings.pop("samples"), **settings, "do_sample": self.temperature > 0}


class RunOptions(SamplingProtocol):
    """Sample and score a checkpoint on benchmarks through verl's own validation."""

    model: Annotated[str, typer.Argument()]
    """Hugging Face folder or name, or a verl checkpoint."""
    data: tuple[str, ...]
    """FILE.parquet or NAME=FILE.parquet; once for each benchmark."""
    out: Path
    """New folder: manifest.json and BENCHMARK/STEP.jsonl."""
    overrides: Annotated[tuple[str, ...], typer.Argument()] = ()
    """Behind `--`: further arguments of verl.trainer.main_ppo."""
    seed: AtLeastZero = 0
    """Of the sampling."""
    gpus: AtLeastOne = 1
    """Of this node."""
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False
    """Print the commands and stop."""


class ReportOptions(EvaluationOptions):
    """How dumps are read and resampled."""

    detector: Path | None = None
    """A phrase list (YAML) in place of the one that ships."""
    step: int | None = None
    """Step to report (default: each run's last)."""
    reward_threshold: Annotated[float, typer.Option("--reward-threshold", "--threshold")] = REWARD_THRESHOLD
    """A sample is correct iff its acc, else score, is greater."""
    tokenizer: str | None = None
    """Counts lengths where the dump holds none (default: the manifest's model)."""
    response_limit: AtLeastOne | None = None
    """Tokens at which a response was cut off (default: the manifest's)."""
    resamples: Resamples = 10_000
    """Of problems, for the intervals."""
    seed: AtLeastZero = 0
    """Of the resampling."""


class SummaryCommand(ReportOptions):
    """Held-out accuracy before and after, runs beside each other, and the construction funnel."""

    folders: Annotated[tuple[Path, ...], typer.Argument(metavar="DIR...")]
    """Runs: dumps of `tapo eval run` or of any verl validation; for the funnel, metrics.jsonl beside them."""


class ReportCommand(SummaryCommand):
    """Pass@k, accuracy, majority vote, readings of DSR and ERR, with 95 % intervals; each run against the first."""

    out: Path | None = None
    """Folder for report.md, report.json and plots."""


class ReflectionsCommand(EvaluationOptions):
    """What the reflection detector matched on a random sample, and its agreement with hand-labelled examples."""

    dump: Annotated[Path | None, typer.Argument()] = None
    """A STEP.jsonl, or a folder of `tapo eval report`."""
    detector: Path | None = None
    """A phrase list (YAML) in place of the one that ships."""
    limit: AtLeastOne = 5
    """Responses to show."""
    unmatched: Annotated[bool, typer.Option("--unmatched")] = False
    """Show responses without a match."""
    seed: int = 0
    """Of the sample."""
    labelled: Path | None = None
    """Hand-labelled examples in place of those that ship."""


class ConstructionsCommand(EvaluationOptions):
    """How far the splicer agrees with hand-labelled constructions; held-out ones apart."""

    labelled: Path | None = None
    """Hand-labelled constructions in place of those that ship."""
    disagreements: Annotated[bool, typer.Option("--disagreements")] = False
    """Show where the splicer disagrees."""


class PlotCommand(EvaluationOptions):
    """Training dynamics: the paper's six panels and the construction funnel, runs beside each other."""

    runs: Annotated[tuple[Path, ...], typer.Argument(metavar="RUN...")]
    """Runs: metrics.jsonl, a .jsonl file, or TensorBoard events."""
    out: Path
    """Folder for dynamics.png and dynamics.svg."""
    smooth: AtLeastOne = 1
    """Steps of the running mean drawn over the raw line; 1 draws none."""
