"""Carries out the jobs of a plan: each skipped when complete and gone on with when killed, several at once."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rich.console import Console

from tapo.comparison import keeper
from tapo.comparison.board import Board
from tapo.comparison.jobs import Job
from tapo.comparison.machine import gpus, ray_cluster
from tapo.evaluation.folders import METRICS
from tapo.files.markers import stage
from tapo.training_progress import RunWatch, show_failure

POLL_S = 1.0
LOCK = ".lock"


@dataclass
class Conducted:
    """What became of the jobs, by name."""

    complete: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why."""


@dataclass
class _Running:
    """A job whose command runs, by way of its keeper."""

    job: Job
    process: subprocess.Popen
    log: IO[str]
    watch: RunWatch
    gpus: tuple[str, ...]
    since: float

    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        """Let the keeper see that we are gone."""
        assert self.process.stdin
        self.process.stdin.close()


def conduct(jobs: Sequence[Job], at_once: int, gpus_each: int, console: Console) -> Conducted:
    """Run what is not complete; whatever happens here, no run outlives it.

    Args:
        jobs: those that others need among them.
        gpus_each: GPUs that each run sees, no two the same.
    """
    with Board(len(jobs), console) as board:
        conductor = _Conductor(list(jobs), gpus_each, board, console)
        try:
            while conductor.step(at_once):
                time.sleep(POLL_S)
        finally:
            conductor.end_all()
    return conductor.conducted


class _Conductor:
    def __init__(self, jobs: list[Job], gpus_each: int, board: Board, console: Console):
        self.waiting, self.board, self.console = jobs, board, console
        self.conducted = Conducted()
        self.running: list[_Running] = []
        self.gpus_each = gpus_each
        self.free_gpus = gpus(os.environ) if gpus_each else []
        for job in [job for job in jobs if job.is_complete()]:
            self.waiting.remove(job)
            self.conducted.complete.append(job.name)
            board.skip(job.name)

    def step(self, at_once: int) -> bool:
        """Collect what has ended, start what there is room for; whether anything is left."""
        for running in list(self.running):
            self._look(running)
        for job in list(self.waiting):
            if missing := [name for name in job.needs if name in self.conducted.failed]:
                self.waiting.remove(job)
                self._fail(job.name, f"it needs {missing[0]}")
            elif len(self.running) < at_once and set(job.needs) <= set(self.conducted.complete):
                self.waiting.remove(job)
                self._start(job)
        return bool(self.waiting or self.running)

    def _start(self, job: Job) -> None:
        prepare_folder(job)
        own, self.free_gpus = self.free_gpus[: self.gpus_each], self.free_gpus[self.gpus_each :]
        environment = environment_of(job, own)
        watch = RunWatch(job.folder)
        log = job.log.open("a")
        command = [sys.executable, keeper.__file__, str(job.folder / LOCK), "--", *job.command]
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.running.append(_Running(job, process, log, watch, tuple(own), time.monotonic()))
        self.board.start(job.name, job.steps)

    def _look(self, running: _Running) -> None:
        """Show what is new of a run, and what became of it if it has ended."""
        ended, name = running.ended(), running.job.name
        if told := running.watch.doing():
            self.board.note(name, told)
        for step, status in running.watch.steps():
            self.board.show(name, step, status)
        if ended:
            self._collect(running)

    def _collect(self, running: _Running) -> None:
        self.running.remove(running)
        self.free_gpus += running.gpus
        running.log.close()
        job, status = running.job, running.process.returncode
        if status == 0 and job.shown and not job.dumps():
            self._fail(job.name, f"it ended with 0 and left no dump in {job.folder}/validation")
        elif status:
            show_failure(job.folder, job.name, status, self.console)
            self._fail(job.name, f"status {status}, see {job.log}")
        else:
            with stage(job.log, job.specification) as report:
                report["seconds_of_last_attempt"] = round(time.monotonic() - running.since, 1)
            self.conducted.complete.append(job.name)
            self.board.finish(job.name, "complete")

    def _fail(self, name: str, why: str) -> None:
        self.conducted.failed[name] = why
        self.board.finish(name, f"failed: {why}")

    def end_all(self) -> None:
        """End every run, and wait until it has."""
        for running in self.running:
            running.end()
        for running in self.running:
            running.process.wait()
            running.log.close()


def prepare_folder(job: Job) -> None:
    """Make a folder ready for an attempt: what an earlier one left is gone on with, or removed."""
    job.check_folder()
    if not job.resume and job.folder.exists():
        for entry in job.folder.iterdir():
            if entry.name != LOCK:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    job.folder.mkdir(parents=True, exist_ok=True)
    keep_earlier_metrics(job.folder)
    job.write_specification()


def keep_earlier_metrics(folder: Path) -> None:
    """verl's logger begins its file anew when a run goes on: what an earlier attempt logged is put aside."""
    if (folder / METRICS).exists():
        earlier = len(earlier_metrics(folder))
        (folder / METRICS).rename(folder / f"metrics.{earlier + 1}.jsonl")


def earlier_metrics(folder: Path) -> list[Path]:
    """Metrics of earlier attempts, in their order."""
    files = folder.glob("metrics.*.jsonl")
    numbered = {int(file.name.split(".")[1]): file for file in files if file.name.split(".")[1].isdecimal()}
    return [numbered[number] for number in sorted(numbered)]


def environment_of(job: Job, own_gpus: Sequence[str], machine: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a job's command."""
    variables = {**machine, **job.environment, "VERL_FILE_LOGGER_PATH": str(job.folder / METRICS)}
    # `python` and `tapo` in a command are those that run this.
    variables["PATH"] = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), variables.get("PATH"))))
    if ray_cluster(variables) is None:
        variables["RAY_ADDRESS"] = "local"  # never the cluster that a run beside this one has started
    if own_gpus:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(own_gpus)
    return variables
