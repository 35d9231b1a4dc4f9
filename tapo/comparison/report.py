"""Builds the report of a comparison: a section for each group and benchmark, what is missing, and what must be said."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tapo.comparison.figures import Section, section_of
from tapo.comparison.jobs import Job
from tapo.comparison.outcomes import Outcome, read_outcomes
from tapo.comparison.plan import Plan, StatedPlan
from tapo.core.phrases import load_detector
from tapo.evaluation.bootstrap import LEVEL
from tapo.versions import installed_versions


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
        section_of(plan, group, benchmark, by_run)
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
    for name in section.left_out:
        notes.append(f"{where}, {name}: left out, since its seeds share no step with a validation")
    if all(run.name != section.against for run in section.runs):
        notes.append(f"{where}: nothing is compared, since {section.against} has no complete run")
    return notes
