"""Builds a report from dumps: every figure with its interval, paired differences, and what became of constructions."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapo.core.phrases import load_detector
from tapo.evaluation.bootstrap import Estimate, paired_differences
from tapo.evaluation.dumps import read_dump
from tapo.evaluation.folders import METRICS, PLAIN, RunFolder, find_runs, protocol_differences
from tapo.evaluation.options import ReportOptions
from tapo.evaluation.step_report import Reported, label, step_report
from tapo.evaluation.training_logs import CONSTRUCT, Funnel, read_training_log
from tapo.versions import installed_versions


@dataclass(frozen=True)
class Comparison:
    """Second minus first over the problems they share."""

    benchmark: str
    runs: tuple[str, str]
    steps: tuple[int, int]
    shared: int
    differences: dict[str, Estimate]

    @property
    def sentence(self) -> str:
        """Which run is ahead in mean accuracy, or that the difference is within noise."""
        first, second = self.runs
        accuracy = self.differences["accuracy"]
        assert accuracy.value is not None
        told = f"{self.benchmark}: {second} against {first}, mean accuracy {accuracy.value * 100:+.1f} points"
        over = f"over {self.shared} shared problems"
        if accuracy.low is None or accuracy.high is None:
            return f"{told} {over}: no interval from so few, so nothing follows."
        told += f" [{accuracy.low * 100:+.1f}, {accuracy.high * 100:+.1f}] {over}"
        if not accuracy.beyond_noise:
            return f"{told}: within noise."
        return f"{told}: {second if accuracy.value > 0 else first} is ahead."

    def describe(self) -> dict[str, Any]:
        """As JSON holds it, without its sides."""
        differences = {
            name: asdict(value) | {"within_noise": not value.beyond_noise} for name, value in self.differences.items()
        }
        return {"steps": list(self.steps), "shared_problems": self.shared, "second_minus_first": differences}


@dataclass(frozen=True)
class RunReport(RunFolder):
    """One run and its figures."""

    benchmarks: dict[str, dict[int, Reported]]
    """{benchmark: {step: figures}}, steps ascending."""
    changes: dict[str, Comparison]
    """By benchmark: the reported step's mean accuracy minus the first one's, where the two differ."""
    funnel: Funnel | None
    """None of a run without a training log or without constructions in it."""
    step: int | None
    """The step asked for."""

    def at(self, benchmark: str) -> Reported:
        """The step to be compared: the one asked for, else the last."""
        steps = self.benchmarks[benchmark]
        return steps[max(steps) if self.step is None else self.step]


@dataclass(frozen=True)
class Report:
    """All of it; `notes` is what a reader must know besides the numbers."""

    runs: list[RunReport]
    comparisons: list[Comparison]
    notes: list[str]
    protocol: dict[str, Any]

    def by_benchmark(self) -> dict[str, list[RunReport]]:
        """The runs that have each benchmark."""
        names = dict.fromkeys(name for run in self.runs for name in run.benchmarks)
        return {name: [run for run in self.runs if name in run.benchmarks] for name in names}


def build_report(
    paths: Sequence[Path], options: ReportOptions | None = None, progress: Callable[[str], None] = lambda message: None
) -> Report:
    """Read the runs' dumps, estimate, and compare each run with the first.

    Raises:
        ValueError: a dump cannot be used (see `find_runs` and `read_dump`), a run lacks the step asked for, or a run
            shares no benchmark or no problem with the first.
    """
    options = options or ReportOptions()
    builder = _Builder(options, progress)
    runs = [builder.run(folder) for folder in find_runs(paths)]
    comparisons = [comparison for run in runs[1:] for comparison in builder.comparisons(runs[0], run)]
    protocol = {
        "detector": builder.detector.describe(),
        "correct_above": options.reward_threshold,
        **builder.resampling,
        "interval": "95 % percentile bootstrap over problems",
        "versions": installed_versions(),
    }
    return Report(runs, comparisons, builder.notes(), protocol)


def compare(
    benchmark: str, first: Reported, second: Reported, figures: Sequence[str], resampling: Mapping[str, int]
) -> Comparison | None:
    """The differences of some figures, all of which both sides have; None if they share no problem.

    Args:
        resampling: `resamples` and `seed` of the intervals.
    """
    one, two = first.ratios, second.ratios
    shared = [problem for problem in one.numerators_PF.index if problem in two.numerators_PF.index]
    if not shared:
        return None
    values = paired_differences(one.select(figures, shared), two.select(figures, shared), **resampling)
    differences = dict(zip(figures, values, strict=True))
    return Comparison(benchmark, (first.run, second.run), (first.step, second.step), len(shared), differences)


class _Builder:
    """A report while it is built."""

    def __init__(self, options: ReportOptions, progress: Callable[[str], None]):
        self.options, self.progress = options, progress
        self.detector = load_detector(options.detector)
        self.resampling = {"resamples": options.resamples, "seed": options.seed}
        self.steps_of: dict[tuple[str, str], list[int]] = defaultdict(list)
        """{(where, note): steps that it holds at}; `where` names a run, a benchmark of it, or a comparison."""

    def note(self, where: str, *texts: str, step: int | None = None) -> None:
        """Add what a reader must know; what holds at several steps of a benchmark becomes one line."""
        for text in texts:
            self.steps_of[where, text] += [] if step is None else [step]

    def notes(self) -> list[str]:
        """In order of first appearance."""
        lines = []
        for (where, text), steps in self.steps_of.items():
            at = f", step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}" if steps else ""
            lines.append(f"{where}{at}: {text}")
        return lines

    def run(self, folder: RunFolder) -> RunReport:
        """Read one run."""
        tokenizer = self._tokenizer(folder)
        limit = self.options.response_limit
        if limit is None and folder.manifest:
            limit = folder.manifest["sampling"]["max_response_length"]
        benchmarks: dict[str, dict[int, Reported]] = defaultdict(dict)
        for name, files in folder.dumps.items():
            for step, path in files.items():
                self.progress(f"reading {path}")
                threshold = self.options.reward_threshold
                dump = read_dump(path, self.detector, reward_threshold=threshold, tokenizer=tokenizer)
                self.note(f"{folder.name}, {name}", *dump.notes, step=step)
                for source, samples in dump.benchmarks.items():
                    benchmark = name if len(dump.benchmarks) == 1 else f"{name}:{source}"
                    report, ratios, notes = step_report(samples, dump, limit, self.resampling)
                    source_of = {"file": str(path), "sha256": dump.sha256, "fields": dump.fields}
                    benchmarks[benchmark][step] = Reported(folder.name, step, report, source_of, ratios)
                    self.note(f"{folder.name}, {benchmark}", *notes, step=step)
        self._note_on_manifest(folder, benchmarks)
        found = {benchmark: self._change(folder.name, benchmark, steps) for benchmark, steps in benchmarks.items()}
        changes = {benchmark: change for benchmark, change in found.items() if change}
        funnel, asked = self._funnel(folder), self.options.step
        return RunReport(**vars(folder), benchmarks=benchmarks, changes=changes, funnel=funnel, step=asked)

    def _tokenizer(self, folder: RunFolder) -> str | None:
        tokenizer = self.options.tokenizer
        if tokenizer is None and folder.manifest:
            tokenizer = folder.manifest["model"]["path"]
            if not Path(tokenizer).is_dir():
                self.note(folder.name, f"the manifest's tokenizer {tokenizer} is not here")
                return None
        return tokenizer

    def _note_on_manifest(self, folder: RunFolder, benchmarks: dict[str, dict[int, Reported]]) -> None:
        if folder.manifest is None:
            self.note(folder.name, "no manifest, so model and sampling settings are unknown")
            for benchmark, steps in benchmarks.items():
                if any("data_source" not in reported.source["fields"] for reported in steps.values()):
                    told = "rows name no data source, so the folder is taken for one benchmark"
                    self.note(f"{folder.name}, {benchmark}", told)
            return
        planned = folder.manifest["sampling"]["n"]
        expected = {entry["name"]: entry["problems"] * planned for entry in folder.manifest["benchmarks"]}
        for benchmark, steps in benchmarks.items():
            for step, reported in steps.items():
                samples = reported.report.samples
                if samples != expected.get(benchmark, samples):
                    told = f"{samples} samples where the manifest has {expected[benchmark]}"
                    self.note(f"{folder.name}, {benchmark}", f"{told}; verl drops sessions that fail", step=step)

    def _change(self, run: str, benchmark: str, steps: dict[int, Reported]) -> Comparison | None:
        first, last = min(steps), max(steps) if self.options.step is None else self.options.step
        if last not in steps:
            allowed = ", ".join(map(str, steps))
            raise ValueError(f"--step = {last} cannot work: {run}, {benchmark} has {allowed}")
        if first == last:
            return None
        change = compare(benchmark, steps[first], steps[last], ["accuracy"], self.resampling)
        if change is None:
            self.note(f"{run}, {benchmark}", f"no change since step {first}: no problem is shared", step=last)
        return change

    def _funnel(self, folder: RunFolder) -> Funnel | None:
        file = (folder.path.parent if folder.path.name == PLAIN else folder.path) / METRICS
        if not file.is_file():
            return None
        where = f"{folder.name}, {METRICS}"
        try:
            log = read_training_log(file, folder.name, only=CONSTRUCT)
        except ValueError as error:
            self.note(where, f"no construction funnel: {error}")
            return None
        self.note(where, *log.notes)
        return log.funnel()

    def comparisons(self, first: RunReport, second: RunReport) -> list[Comparison]:
        """Second minus first on each benchmark that both have."""
        shared = [name for name in first.benchmarks if name in second.benchmarks]
        if not shared:
            got = "; ".join(f"{run.name} has {', '.join(run.benchmarks)}" for run in (first, second))
            raise ValueError(f"{first.name} and {second.name} share no benchmark: {got}; needs one of the same name")
        for run, other in ((first, second), (second, first)):
            alone = [name for name in run.benchmarks if name not in other.benchmarks]
            if alone:
                self.note(run.name, f"{', '.join(alone)} not compared: {other.name} has none of that name")
        if first.manifest and second.manifest:
            differences = protocol_differences(first.manifest, second.manifest)
            told = (f"the protocols differ in {entry}" for entry in differences)
            self.note(f"{first.name} and {second.name}", *told)
        return [self._compare(name, first.at(name), second.at(name)) for name in shared]

    def _compare(self, benchmark: str, first: Reported, second: Reported) -> Comparison:
        where, one, two = f"{benchmark}, {second.run} against {first.run}", first.report, second.report
        if first.step != second.step:
            self.note(where, f"steps {second.step} and {first.step} are compared")
        reasons = {}
        if one.samples * two.problems != two.samples * one.problems:
            reasons["majority"] = "it depends on the number of samples a problem, and theirs differ"
        if one.length_unit != two.length_unit:
            reasons["length"] = f"one is in {one.length_unit}, the other in {two.length_unit}"
        both = [name for name in one.figures if name in two.figures]
        self.note(where, *(f"{label(name)} not compared: {reasons[name]}" for name in both if name in reasons))
        figures = [name for name in both if name not in reasons]
        comparison = compare(benchmark, first, second, figures, self.resampling)
        if comparison is None:
            raise ValueError(f"{where}: got {one.problems} and {two.problems} problems, none shared; needs shared ones")
        shared = comparison.shared
        if shared < max(one.problems, two.problems):
            alone = f"{two.problems - shared} and {one.problems - shared}"
            self.note(where, f"{shared} problems are shared and compared, {alone} are in one alone")
        return comparison
