"""Builds the report of a comparison: each run's figures over its seeds, and each beside the one it is compared with."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tapo.comparison.costs import Cost
from tapo.comparison.jobs import Job
from tapo.comparison.outcomes import Outcome, read_outcomes
from tapo.comparison.plan import Plan, StatedPlan
from tapo.comparison.seeds import OverSeeds, Resampling, differences_over_seeds, estimates_over_seeds
from tapo.core.phrases import load_detector
from tapo.evaluation.bootstrap import LEVEL
from tapo.evaluation.step_report import Ratios
from tapo.versions import installed_versions

ACCURACY = "accuracy"
BUDGETS = 4
"""Equal parts of the most tokens that a run has generated, at which accuracies are shown."""


@dataclass(frozen=True)
class Beside:
    """A run beside the one it is compared with, over the seeds and problems of both."""

    at: str
    """Where: a step of each, or how many tokens each had generated."""
    seeds: tuple[int, ...]
    own: OverSeeds
    other: OverSeeds
    differences: dict[str, OverSeeds]
    """Own minus other, by figure."""

    @property
    def difference(self) -> OverSeeds:
        """In mean accuracy."""
        return self.differences[ACCURACY]

    @property
    def verdict(self) -> str:
        """What follows from the interval."""
        estimate = self.difference.estimate
        if estimate.low is None:
            return "no interval"
        if not estimate.beyond_noise:
            return "within noise"
        return "ahead beyond noise" if (estimate.value or 0) > 0 else "behind beyond noise"


@dataclass(frozen=True)
class RunFigures:
    """One run on one benchmark, over its seeds."""

    name: str
    seeds: tuple[int, ...]
    step: int
    """The validation that is compared: the plan's step where there is one, else the last before it, else the first."""
    figures: dict[str, OverSeeds]
    """At that step."""
    counts: dict[str, dict[str, int]]
    """Responses at that step by reflection and correctness, all seeds together."""
    accuracies: dict[int, OverSeeds]
    """By step, those that every seed has."""
    costs: dict[int, dict[int, Cost]]
    """{step: {seed: spent by then}}."""
    accuracies_by_budget: dict[float, OverSeeds | None]
    """{tokens: accuracy}; None where a seed had ended before."""
    at_equal_steps: Beside | None
    """None of the run that the others are compared with."""
    at_equal_tokens: Beside | None
    """None also where one of both has generated none."""

    def mean_cost(self, step: int) -> Cost:
        """Over seeds."""
        costs = self.costs[step].values()
        return Cost(*(sum(parts) / len(costs) for parts in zip(*costs, strict=True)))

    @property
    def last_step(self) -> int:
        """Of the validations that every seed has."""
        return max(self.accuracies)


@dataclass(frozen=True)
class Section:
    """One group on one benchmark."""

    group: str
    benchmark: str
    against: str
    runs: list[RunFigures]

    def others(self) -> list[RunFigures]:
        """Those that stand beside another."""
        return [run for run in self.runs if run.at_equal_steps]


@dataclass(frozen=True)
class ComparisonReport:
    """All of it."""

    stated: StatedPlan
    sections: list[Section]
    missing: dict[str, str]
    """{job: why it is not in}."""
    statements: list[dict[str, Any]]
    """When the plan was stated, and changed: `digest`, `time`, `copy` and `runs_complete` by then."""
    notes: list[str]
    protocol: dict[str, Any]


def build_comparison(
    stated: StatedPlan,
    jobs: Sequence[Job],
    failed: dict[str, str],
    statements: list[dict[str, Any]],
    progress: Callable[[str], Any] = lambda message: None,
) -> ComparisonReport:
    """Read what the complete runs left, and compare.

    Args:
        failed: why a job failed this time.
        statements: when the plan was stated and changed, see `ComparisonReport`.

    Raises:
        ValueError: a dump or a run's metrics cannot be read.
    """
    plan, detector = stated.plan, load_detector()
    outcomes = read_outcomes(jobs, plan, detector, progress)
    missing = {
        job.name: failed.get(job.name, "not run yet, or not to its end") for job in jobs if not job.is_complete()
    }
    progress("comparing")
    sections = [
        _section(plan, group, benchmark, by_run)
        for group, of_group in _grouped(outcomes.values(), lambda outcome: outcome.job.group).items()
        for benchmark in dict.fromkeys(name for outcome in of_group for name in outcome.validations)
        if (by_run := _by_run(plan, of_group, benchmark))
    ]
    notes = [*_notes(outcomes), *(note for section in sections for note in _notes_on(section))]
    protocol = {
        "plan": stated.digest,
        "detector": detector.describe(),
        "interval": f"{LEVEL:.0%}: problems drawn with replacement, the seeds' mean from Student's t",
        "resamples": plan.resamples,
        "versions": installed_versions(),
        "dumps": {path: digest for outcome in outcomes.values() for path, digest in outcome.dumps.items()},
    }
    return ComparisonReport(stated, sections, missing, statements, notes, protocol)


def _grouped(outcomes: Iterable[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[key(outcome)].append(outcome)
    return groups


def _by_run(plan: Plan, outcomes: list[Outcome], benchmark: str) -> dict[str, list[Outcome]]:
    """{run: its seeds}, in the plan's order, of the outcomes that have the benchmark."""
    by_run = _grouped((one for one in outcomes if benchmark in one.validations), lambda outcome: outcome.job.run)
    return {name: by_run[name] for name in plan.runs if name in by_run}


def _section(plan: Plan, group: str, benchmark: str, by_run: dict[str, list[Outcome]]) -> Section:
    maker = _Maker(plan, benchmark, by_run)
    return Section(group, benchmark, plan.against, [maker.run(name) for name in by_run])


class _Maker:
    """The figures of one group on one benchmark while they are made."""

    def __init__(self, plan: Plan, benchmark: str, by_run: dict[str, list[Outcome]]):
        self.plan, self.benchmark = plan, benchmark
        self.by_run = {name: {one.job.seed: one for one in outcomes} for name, outcomes in by_run.items()}
        self.resampling = Resampling(plan.resamples)
        most = max(self._last_tokens(name, seed) for name, outcomes in self.by_run.items() for seed in outcomes)
        self.budgets = [most * part / BUDGETS for part in range(1, BUDGETS + 1)] if most else []

    def run(self, name: str) -> RunFigures:
        """One run's."""
        outcomes = self.by_run[name]
        steps, step = self._steps(name), self._step(name)
        at_step = self._at_step(name, step)
        return RunFigures(
            name,
            tuple(sorted(outcomes)),
            step,
            estimates_over_seeds(at_step, _shared_figures(at_step.values()), self.resampling),
            _counts(at_step.values()),
            {at: self._accuracy(self._at_step(name, at)) for at in steps},
            {at: {seed: one.costs[at] for seed, one in sorted(outcomes.items())} for at in steps},
            {budget: self._at_budget(name, budget) for budget in self.budgets},
            self._at_equal_steps(name),
            self._at_equal_tokens(name),
        )

    def _steps(self, name: str) -> list[int]:
        """Of the validations that every seed has."""
        validated = [set(one.validations[self.benchmark]) for one in self.by_run[name].values()]
        return sorted(set.intersection(*validated))

    def _step(self, name: str) -> int:
        steps = self._steps(name)
        return max([step for step in steps if step <= self.plan.steps] or steps[:1])

    def _at_step(self, name: str, step: int) -> dict[int, Ratios]:
        return {seed: one.validations[self.benchmark][step] for seed, one in self.by_run[name].items()}

    def _accuracy(self, by_seed: dict[int, Ratios]) -> OverSeeds:
        return estimates_over_seeds(by_seed, [ACCURACY], self.resampling)[ACCURACY]

    def _at_budget(self, name: str, budget: float) -> OverSeeds | None:
        found = {seed: self._at_tokens(name, seed, budget) for seed in self.by_run[name]}
        known = {seed: ratios for seed, ratios in found.items() if ratios}
        return self._accuracy(known) if len(known) == len(found) else None

    def _at_equal_steps(self, name: str) -> Beside | None:
        against = self.plan.against
        if name == against or against not in self.by_run:
            return None
        own, other = self._step(name), self._step(against)
        at = f"step {own}" if own == other else f"step {own}, {against} at step {other}"
        return self._beside(at, self._at_step(name, own), self._at_step(against, other))

    def _at_equal_tokens(self, name: str) -> Beside | None:
        """Where the first of the two had generated all its tokens, seed by seed."""
        against = self.plan.against
        if name == against or against not in self.by_run:
            return None
        sides: tuple[dict[int, Ratios], dict[int, Ratios]] = ({}, {})
        budgets, ended = [], set()
        for seed in self.by_run[name].keys() & self.by_run[against].keys():
            lasts = [self._last_tokens(one, seed) for one in (name, against)]
            found = [self._at_tokens(one, seed, min(lasts)) for one in (name, against)]
            if min(lasts) and all(found):
                budgets.append(min(lasts))
                ended.add(name if lasts[0] <= lasts[1] else against)
                for side, ratios in zip(sides, found, strict=True):
                    side[seed] = ratios  # type: ignore[assignment]
        if not budgets:
            return None
        return self._beside(f"{tokens(sum(budgets) / len(budgets))}, where {' or '.join(sorted(ended))} ended", *sides)

    def _last_tokens(self, name: str, seed: int) -> float:
        """Generated by the last validation that every seed has."""
        return self.by_run[name][seed].costs[self._steps(name)[-1]].generated

    def _at_tokens(self, name: str, seed: int, budget: float) -> Ratios | None:
        # A run that was killed has one validation more, where it went on: it would be looked at in one seed alone.
        return self.by_run[name][seed].at_tokens(self.benchmark, budget, self._steps(name))

    def _beside(self, at: str, own: dict[int, Ratios], other: dict[int, Ratios]) -> Beside | None:
        seeds = sorted(own.keys() & other.keys())
        own, other = ({seed: side[seed] for seed in seeds} for side in (own, other))
        figures = _shared_figures([*own.values(), *other.values()])
        differences = differences_over_seeds(other, own, figures, self.resampling)
        if not differences:
            return None
        of_both = differences[ACCURACY].by_seed
        return Beside(at, tuple(of_both), self._accuracy(own), self._accuracy(other), differences)


def _shared_figures(ratios: Iterable[Ratios]) -> list[str]:
    """Names that all have, in the order of the first."""
    names = [list(one.numerators_PF) for one in ratios]
    return [name for name in (names[0] if names else []) if all(name in other for other in names)]


def _counts(ratios: Iterable[Ratios]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in ratios:
        for kind, of_kind in one.reflection_counts().items():
            for outcome, count in of_kind.items():
                counts[kind][outcome] += count
    return {kind: dict(of_kind) for kind, of_kind in counts.items()}


def tokens(count: float) -> str:
    """A number of tokens as tables have it: `64.2 k tokens`."""
    for size, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.1f}{sign} tokens"
    return f"{count:.0f} tokens"


def _notes(outcomes: dict[str, Outcome]) -> list[str]:
    """What must be said of dumps and metrics, each once with those that it holds for."""
    where: dict[str, list[str]] = defaultdict(list)
    for name, outcome in outcomes.items():
        for note in outcome.notes:
            where[note].append(name)
    told = {note: "all runs" if len(names) == len(outcomes) else ", ".join(names) for note, names in where.items()}
    return [f"{names}: {note}" for note, names in told.items()]


def _notes_on(section: Section) -> list[str]:
    notes, where = [], "/".join(filter(None, (section.group, section.benchmark)))
    for run in section.runs:
        if len(run.seeds) == 1:
            notes.append(f"{where}, {run.name}: one seed, so that intervals are over problems alone")
    if all(run.name != section.against for run in section.runs):
        notes.append(f"{where}: nothing is compared, since {section.against} has no complete run")
    return notes
