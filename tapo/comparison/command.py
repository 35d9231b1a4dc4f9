"""`tapo compare`: state the plan, carry it out, report."""

import datetime
import fcntl
import json
import os
import shlex
from pathlib import Path
from typing import TextIO

from rich.console import Console

from tapo.comparison.conduct import Conducted, conduct
from tapo.comparison.jobs import Job, jobs_of
from tapo.comparison.machine import room_for
from tapo.comparison.options import CompareCommand
from tapo.comparison.plan import StatedPlan, read_plan
from tapo.comparison.render import print_comparison, write_comparison
from tapo.comparison.report import build_comparison
from tapo.files.atomic import write_text_atomically
from tapo.files.json_lines import read_json_lines
from tapo.terminal import say

STATED = "plans.jsonl"


class ComparisonIncomplete(ValueError):
    """Some runs are not complete; the report has been written without them."""


def compare(options: CompareCommand, console: Console) -> None:
    """Carry out a plan and report.

    Raises:
        ValueError: the plan cannot work, or its folder holds runs of another one.
        ComparisonIncomplete: a run failed, or with `report_only` is not complete.
    """
    stated = read_plan(options.plan)
    jobs = jobs_of(stated)
    if options.dry_run:
        print_commands(jobs, console)
        return
    for job in jobs:
        job.check_folder()
    stated.out.mkdir(parents=True, exist_ok=True)
    with lock(stated.out):
        state(stated, jobs)
        conducted = Conducted() if options.report_only else _conduct(stated, jobs, console)
        with console.status("reading") as status:
            report = build_comparison(stated, jobs, conducted.failed, statements(stated.out), status.update)
        print_comparison(report, console)
        for file in write_comparison(report, stated.out / "report"):
            say(str(file), console)
    if report.missing:
        told = "; ".join(f"{name}: {why}" for name, why in report.missing.items())
        raise ComparisonIncomplete(f"{len(report.missing)} of {len(jobs)} runs are not complete: {told}")


def _conduct(stated: StatedPlan, jobs: list[Job], console: Console) -> Conducted:
    plan = stated.plan
    at_once, why = room_for(plan.each, os.environ | plan.environment)
    if plan.at_once is not None:
        at_once, why = plan.at_once, "as the plan says"
    say(f"{len(jobs)} runs, {at_once} at once ({why})", console)
    return conduct(jobs, at_once, plan.each.gpus, console)


def print_commands(jobs: list[Job], console: Console) -> None:
    """What would be started, as a shell takes it."""
    for job in jobs:
        variables = shlex.join(f"{name}={value}" for name, value in job.environment.items())
        complete = " (complete)" if job.is_complete() else ""
        say(f"# {job.name}{complete}\n{variables and f'env {variables} '}{shlex.join(job.command)}", console)


def state(stated: StatedPlan, jobs: list[Job]) -> None:
    """Keep a copy of the plan, and when it was stated: before its runs, or with some of them complete."""
    record = stated.out / STATED
    before = statements(stated.out)
    if before and before[-1]["digest"] == stated.digest:
        return
    copy = stated.out / "plans" / f"{stated.digest.removeprefix('sha256:')[:12]}.yaml"
    write_text_atomically(copy, stated.text)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    complete = sum(job.is_complete() for job in jobs)
    line = {"digest": stated.digest, "time": now, "copy": copy.name, "runs_complete": complete}
    write_text_atomically(record, "".join(f"{json.dumps(entry)}\n" for entry in [*before, line]))


def statements(out: Path) -> list[dict]:
    """Each plan that was carried out in a folder, in their order: digest, time, copy and runs complete by then."""
    record = out / STATED
    return [entry for _, entry in read_json_lines(record)] if record.exists() else []


class lock:
    """Around everything that is written: one comparison at a time in a folder.

    Raises:
        ValueError: another process carries it out.
    """

    def __init__(self, out: Path):
        self._path = out / ".lock"
        self._file: TextIO | None = None

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            # The kind that the runs do not inherit.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{self._path.parent}: another `tapo compare` is at work there, needs one at a time"
            ) from error

    def __exit__(self, *error: object) -> None:
        assert self._file
        self._file.close()
