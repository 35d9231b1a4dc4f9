"""What a complete run left: the figures of each problem at each validation, and what it had spent by then."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tapo.comparison.costs import Cost, Costs, total
from tapo.comparison.jobs import Job
from tapo.comparison.plan import Plan
from tapo.core.phrases import Detector
from tapo.evaluation.dumps import read_dump
from tapo.evaluation.folders import find_runs
from tapo.evaluation.step_report import Ratios, ratios_of


@dataclass(frozen=True)
class Outcome:
    """One run with one seed."""

    job: Job
    validations: dict[str, dict[int, Ratios]]
    """{benchmark: {step: figures by problem}}, steps ascending."""
    costs: dict[int, Cost]
    """By step of a validation: what had been spent, by the runs that it needs too."""
    dumps: dict[str, str]
    """{file in the comparison's folder: sha256}."""
    notes: tuple[str, ...]
    length_unit: str = "characters"
    """Of response lengths."""

    def at_tokens(self, benchmark: str, budget: float, steps: Sequence[int]) -> Ratios | None:
        """The figures where so many tokens had been generated, between two validations on the line from one to the
        next; None where the run ended before, or had not been validated yet.

        Args:
            steps: validations that are looked at, ascending.
        """
        for before, after in pairwise(steps):
            low, high = self.costs[before].generated, self.costs[after].generated
            if low <= budget <= high and high > low:
                share = (budget - low) / (high - low)
                return _between(self.validations[benchmark][before], self.validations[benchmark][after], share)
        exact = (step for step in steps if self.costs[step].generated == budget)
        step = next(exact, None)
        return None if step is None else self.validations[benchmark][step]


def _between(one: Ratios, two: Ratios, share: float) -> Ratios:
    """Weighted sums of both: numerators and denominators alike, so that means lie on the line."""
    shared = [name for name in one.numerators_PF if name in two.numerators_PF]
    problems = one.numerators_PF.index.intersection(two.numerators_PF.index, sort=False)
    parts = [
        (1 - share) * first.loc[problems, shared] + share * second.loc[problems, shared]
        for first, second in zip(one, two, strict=True)
    ]
    return Ratios(*parts)


def read_outcomes(
    jobs: Sequence[Job], plan: Plan, detector: Detector, progress: Callable[[str], Any]
) -> dict[str, Outcome]:
    """The complete ones among the jobs that are shown, by name.

    Raises:
        ValueError: a dump or metrics cannot be read.
    """
    by_name = {job.name: job for job in jobs}
    costs = {job.name: Costs(job.folder, plan.rollouts) for job in jobs if job.is_complete()}
    return {name: _outcome(by_name[name], by_name, costs, detector, progress) for name in costs if by_name[name].shown}


def _outcome(
    job: Job, jobs: dict[str, Job], costs: dict[str, Costs], detector: Detector, progress: Callable[[str], Any]
) -> Outcome:
    validations: dict[str, dict[int, Ratios]] = {}
    dumps, notes, units = {}, list(costs[job.name].notes), set[str]()
    for benchmark, step, path in _files(job):
        progress(f"reading {path}")
        dump = read_dump(path, detector)
        dumps[f"{job.name}/{path.relative_to(job.folder.resolve())}"] = dump.sha256
        units.add(dump.fields["length unit"])
        notes += dump.notes
        for source, samples in dump.benchmarks.items():
            name = benchmark if len(dump.benchmarks) == 1 else f"{benchmark}:{source}"
            ratios, told = ratios_of(samples, dump.problems)
            validations.setdefault(name, {})[step] = ratios
            notes += told
    steps = sorted({step for by_step in validations.values() for step in by_step})
    spent = {step: _spent(job, step, jobs, costs) for step in steps}
    return Outcome(job, validations, spent, dumps, tuple(dict.fromkeys(notes)), " or ".join(sorted(units)))


def _files(job: Job) -> Iterator[tuple[str, int, Path]]:
    (run,) = find_runs([job.folder])
    for benchmark, files in run.dumps.items():
        for step, path in files.items():
            yield benchmark, step, path


def _spent(job: Job, step: int, jobs: dict[str, Job], costs: dict[str, Costs]) -> Cost:
    """By a step, with what the runs that it needs had spent by that step, each once."""
    every, waiting = {job.name}, [job.name]
    while waiting:
        at = jobs[waiting.pop()]
        own = at.name in costs and costs[at.name].hold_those_of_the_data
        new = [name for name in at.needs if name not in every] if at.counts_needs and not own else []
        every.update(new)
        waiting += new
    return total(costs[name].by(step) for name in sorted(every) if name in costs)
