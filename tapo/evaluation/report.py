"""Builds a report from dumps: every figure with its interval, and paired differences between runs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tapo.evaluation.bootstrap import RESAMPLES, Estimate, estimates, paired_differences
from tapo.evaluation.caveats import Notes
from tapo.evaluation.dumps import Dump, read_dump
from tapo.evaluation.folders import RunFolder, find_runs
from tapo.evaluation.lengths import TokenCounter
from tapo.evaluation.manifest import LIBRARIES, protocol_differences
from tapo.evaluation.ratios import Figures, figures_of, label, reflection_counts
from tapo.evaluation.reflection import Detector, load_detector
from tapo.evaluation.samples import Samples
from tapo.versions import installed_versions

FEW_PROBLEMS = 10
"""Below this percentile intervals are known to be too narrow, and the report says so."""


@dataclass(frozen=True)
class StepReport:
    """One benchmark of one run at one step."""

    problems: int
    samples: int
    file: str
    sha256: str
    fields: dict[str, str]
    estimates: dict[str, Estimate]
    counts: dict[str, dict[str, int]]
    """Responses by reflection and correctness."""
    length_unit: str
    keys: tuple[bytes, ...] = field(repr=False)
    figures: Figures = field(repr=False)


@dataclass(frozen=True)
class RunReport:
    """One run: {benchmark: {step: figures}}, steps ascending."""

    name: str
    path: str
    manifest: dict[str, Any] | None
    benchmarks: dict[str, dict[int, StepReport]]

    def at(self, benchmark: str, step: int | None) -> tuple[int, StepReport]:
        """The step to be compared: the one asked for, else the last."""
        steps = self.benchmarks[benchmark]
        chosen = max(steps) if step is None else step
        return chosen, steps[chosen]


@dataclass(frozen=True)
class Comparison:
    """Second run minus first over the problems they share."""

    benchmark: str
    runs: tuple[str, str]
    steps: tuple[int, int]
    shared: int
    differences: dict[str, Estimate]
    sentence: str


@dataclass(frozen=True)
class Report:
    """All of it; `notes` is what a reader must know besides the numbers."""

    runs: list[RunReport]
    comparisons: list[Comparison]
    notes: list[str]
    step: int | None
    protocol: dict[str, Any]


@dataclass(frozen=True)
class ReportOptions:
    """How dumps are read and resampled."""

    detector: Detector = field(default_factory=load_detector)
    threshold: float = 0.5
    """A sample is correct iff its `acc` (or `score`) is greater."""
    step: int | None = None
    """The step to report; None takes each run's last, never its best."""
    tokenizer: str | None = None
    """Counts response lengths where a dump has none; None takes the manifest's."""
    response_limit: int | None = None
    """Most tokens of a response; None takes the manifest's."""
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("--resamples", self.resamples, 100), ("--seed", self.seed, 0)):
            if value < least:
                raise ValueError(f"{name} = {value} cannot work: needs an integer >= {least}")
        if self.response_limit is not None and self.response_limit < 1:
            raise ValueError(f"--response-limit = {self.response_limit} cannot work: needs an integer >= 1")


def build_report(
    paths: list[Path], options: ReportOptions | None = None, progress: Callable[[str], None] = lambda message: None
) -> Report:
    """Read the runs' dumps, estimate, and compare each run with the first.

    Raises:
        ValueError: a dump cannot be used (see `find_runs` and `read_dump`), a run lacks the step asked for, or a run
            shares no benchmark or no problem with the first.
    """
    options = options or ReportOptions()
    notes = Notes()
    runs = [_read_run(folder, options, notes, progress) for folder in find_runs(paths)]
    comparisons = []
    for run in runs[1:]:
        comparisons += _compare_runs(runs[0], run, options, notes)
    protocol = {
        "detector": options.detector.describe(),
        "correct_above": options.threshold,
        "resamples": options.resamples,
        "seed": options.seed,
        "interval": "95 % percentile bootstrap over problems",
        "versions": installed_versions(LIBRARIES),
    }
    return Report(runs, comparisons, notes.lines(), options.step, protocol)


def _read_run(folder: RunFolder, options: ReportOptions, notes: Notes, progress: Callable[[str], None]) -> RunReport:
    counter = _token_counter(folder, options, notes)
    limit = options.response_limit or folder.response_limit()
    benchmarks: dict[str, dict[int, StepReport]] = {}
    for name, files in folder.dumps.items():
        for step, path in files.items():
            progress(f"reading {path}")
            dump = read_dump(path, options.detector, threshold=options.threshold, counter=counter)
            for note in dump.notes:
                notes.add(f"{folder.name}, {name}", note, step)
            for source, samples in dump.benchmarks.items():
                benchmark = name if len(dump.benchmarks) == 1 else f"{name}:{source}"
                told, unknown = _with_truncation(samples, limit)
                report, left_out = _step_report(told, dump, options)
                benchmarks.setdefault(benchmark, {})[step] = report
                for note in unknown + left_out:
                    notes.add(f"{folder.name}, {benchmark}", note, step)
    run = RunReport(folder.name, str(folder.path), folder.manifest, benchmarks)
    _note_on_run(run, notes)
    for benchmark, steps in benchmarks.items():
        if options.step is not None and options.step not in steps:
            allowed = ", ".join(map(str, steps))
            raise ValueError(f"--step = {options.step} cannot work: {run.name}, {benchmark} has {allowed}")
    return run


def _token_counter(folder: RunFolder, options: ReportOptions, notes: Notes) -> TokenCounter | None:
    if options.tokenizer is not None:
        return TokenCounter(options.tokenizer)
    tokenizer = folder.manifest["model"]["path"] if folder.manifest else None
    if tokenizer is None or not Path(tokenizer).is_dir():
        if tokenizer is not None:
            notes.add(folder.name, f"the manifest's tokenizer {tokenizer} is not here")
        return None
    return TokenCounter(tokenizer)


def _with_truncation(samples: Samples, limit: int | None) -> tuple[Samples, list[str]]:
    """Where the dump does not tell, read truncation off token counts, which can only miss some."""
    if samples.truncated is not None or limit is None or samples.length_unit != "tokens":
        return samples, []
    note = f"truncated = at least {limit} tokens after re-encoding the text; may miss some"
    return replace(samples, truncated=samples.length >= limit), [note]


def _step_report(samples: Samples, dump: Dump, options: ReportOptions) -> tuple[StepReport, list[str]]:
    figures, notes = figures_of(samples)
    if len(samples.keys) < FEW_PROBLEMS:
        notes.append(f"intervals from {len(samples.keys)} problems are too narrow to rely on")
    values = estimates(figures.numerators_PF, figures.denominators_PF, resamples=options.resamples, seed=options.seed)
    report = StepReport(
        problems=len(samples.keys),
        samples=len(samples.problem),
        file=str(dump.path),
        sha256=dump.sha256,
        fields=dump.fields,
        estimates=dict(zip(figures.names, values, strict=True)),
        counts=reflection_counts(samples),
        length_unit=samples.length_unit,
        keys=samples.keys,
        figures=figures,
    )
    return report, notes


def _note_on_run(run: RunReport, notes: Notes) -> None:
    if run.manifest is None:
        notes.add(run.name, "no manifest, so model and sampling settings are unknown")
        for benchmark, steps in run.benchmarks.items():
            if any("data_source" not in report.fields for report in steps.values()):
                notes.add(
                    f"{run.name}, {benchmark}", "rows name no data source, so the folder is taken for one benchmark"
                )
        return
    planned = run.manifest["sampling"]["n"]
    expected = {entry["name"]: entry["problems"] * planned for entry in run.manifest["benchmarks"]}
    for benchmark, steps in run.benchmarks.items():
        for step, report in steps.items():
            if report.samples != expected.get(benchmark, report.samples):
                told = f"{report.samples} samples where the manifest has {expected[benchmark]}"
                notes.add(f"{run.name}, {benchmark}", f"{told}; verl drops sessions that fail", step)


def _compare_runs(first: RunReport, second: RunReport, options: ReportOptions, notes: Notes) -> list[Comparison]:
    shared = [name for name in first.benchmarks if name in second.benchmarks]
    if not shared:
        got = "; ".join(f"{run.name} has {', '.join(run.benchmarks)}" for run in (first, second))
        raise ValueError(f"{first.name} and {second.name} share no benchmark: {got}; needs one of the same name")
    for run, other in ((first, second), (second, first)):
        alone = [name for name in run.benchmarks if name not in other.benchmarks]
        if alone:
            notes.add(run.name, f"{', '.join(alone)} not compared: {other.name} has none of that name")
    if first.manifest and second.manifest:
        for entry in protocol_differences(first.manifest, second.manifest):
            notes.add(f"{first.name} and {second.name}", f"the protocols differ in {entry}")
    return [_compare(first, second, benchmark, options, notes) for benchmark in shared]


def _compare(first: RunReport, second: RunReport, benchmark: str, options: ReportOptions, notes: Notes) -> Comparison:
    (first_step, one), (second_step, two) = (run.at(benchmark, options.step) for run in (first, second))
    prefix = f"{benchmark}, {second.name} against {first.name}"
    if first_step != second_step:
        notes.add(prefix, f"steps {second_step} and {first_step} are compared")
    index_in_two = {key: index for index, key in enumerate(two.keys)}
    pairs = [(index, index_in_two[key]) for index, key in enumerate(one.keys) if key in index_in_two]
    if not pairs:
        raise ValueError(f"{prefix}: got {one.problems} and {two.problems} problems, none shared; needs shared ones")
    if len(pairs) < max(one.problems, two.problems):
        alone = f"{two.problems - len(pairs)} and {one.problems - len(pairs)}"
        notes.add(prefix, f"{len(pairs)} problems are shared and compared, {alone} are in one alone")
    names = _comparable(one, two, prefix, notes)
    in_one, in_two = np.array(pairs).T
    differences = paired_differences(
        one.figures.select(names, in_one),
        two.figures.select(names, in_two),
        resamples=options.resamples,
        seed=options.seed,
    )
    by_name = dict(zip(names, differences, strict=True))
    sentence = verdict(benchmark, first.name, second.name, by_name["accuracy"], len(pairs))
    steps = first_step, second_step
    return Comparison(benchmark, (first.name, second.name), steps, len(pairs), by_name, sentence)


def _comparable(one: StepReport, two: StepReport, prefix: str, notes: Notes) -> list[str]:
    """Figures that both have and that mean the same in both."""
    names = [name for name in one.figures.names if name in two.figures.names]
    reasons = {}
    if one.samples * two.problems != two.samples * one.problems:
        reasons["majority"] = "it depends on the number of samples a problem, and theirs differ"
    if one.length_unit != two.length_unit:
        reasons["length"] = f"one is in {one.length_unit}, the other in {two.length_unit}"
    for name, reason in reasons.items():
        if name in names:
            names.remove(name)
            notes.add(prefix, f"{label(name)} not compared: {reason}")
    return names


def verdict(benchmark: str, first: str, second: str, accuracy: Estimate, problems: int) -> str:
    """A plain sentence on which run is ahead in mean accuracy, or that the difference is within noise."""
    assert accuracy.value is not None
    told = f"{benchmark}: {second} against {first}, mean accuracy {accuracy.value * 100:+.1f} points"
    over = f"over {problems} shared problems"
    if accuracy.low is None or accuracy.high is None:
        return f"{told} {over}: no interval from so few, so nothing follows."
    told += f" [{accuracy.low * 100:+.1f}, {accuracy.high * 100:+.1f}] {over}"
    if not accuracy.beyond_noise:
        return f"{told}: within noise."
    return f"{told}: {second if accuracy.value > 0 else first} is ahead."
