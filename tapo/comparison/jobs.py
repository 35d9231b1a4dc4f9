"""The runs of a plan, one job for each group, run and seed: what is started, where, and what it was started from."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.comparison.plan import Command, Group, PlannedRun, StatedPlan
from tapo.evaluation.folders import PLAIN
from tapo.files.atomic import write_text_atomically
from tapo.files.fingerprint import differences, fingerprint_of_file
from tapo.files.markers import is_complete
from tapo.options import ConfigError

LOG = "log"
SPECIFICATION = "run.json"
_PLACE = re.compile(r"(?<!\$)\{(?:run:(?P<run>[\w.-]+)|(?P<name>\w+))\}")
"""`{name}` or `{run:NAME}`; `${name}` is a shell's or Hydra's."""


@dataclass(frozen=True)
class Job:
    """One run of the plan with one seed, in one group."""

    group: str
    """"" in a plan without groups."""
    run: str
    seed: int
    folder: Path
    command: tuple[str, ...]
    environment: dict[str, str]
    """Beside those of the machine."""
    needs: tuple[str, ...]
    """Names of jobs that are finished first."""
    counts_needs: bool
    steps: int
    resume: bool
    shown: bool
    specification: dict[str, Any]
    """What decides about its outcome, as JSON holds it; folders by their places in the plan, so that they may move."""

    @property
    def name(self) -> str:
        """`GROUP/RUN/seed-SEED`, as the folder is called."""
        return job_name(self.group, self.run, self.seed)

    @property
    def log(self) -> Path:
        """The command's output, of every attempt; its marker says that the last one ended well."""
        return self.folder / LOG

    def is_complete(self) -> bool:
        """Whether its command ended with 0, and its log is what it was then."""
        return is_complete(self.log, self.specification, Console(quiet=True))

    def dumps(self) -> list[Path]:
        """What its validations left."""
        return sorted((self.folder / PLAIN).glob("*.jsonl"))

    def check_folder(self) -> None:
        """ValueError where the folder holds a run of another plan, or something else."""
        record = self.folder / SPECIFICATION
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return
        if not record.exists():
            raise ValueError(f"{self.folder} holds something else: needs an empty folder, or one of this comparison")
        try:
            before = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{record} is damaged ({error}); delete the folder and the run is made again") from error
        if changed := differences(before, self.specification):
            raise ValueError(
                f"{self.folder} holds a run of another plan: {'; '.join(changed)}. Set it back, name another `out`, "
                "or delete this folder to make the run again."
            )

    def write_specification(self) -> None:
        """Beside what the run will write."""
        text = json.dumps(self.specification, indent=1, ensure_ascii=False)
        write_text_atomically(self.folder / SPECIFICATION, f"{text}\n")


def job_name(group: str, run: str, seed: int) -> str:
    """As messages and folders have it."""
    return "/".join(filter(None, (group, run, f"seed-{seed}")))


def jobs_of(stated: StatedPlan) -> list[Job]:
    """Every job of the plan, in the order in which they are started where all can be.

    Raises:
        ConfigError: a place such as `{name}` is unknown, or a file of `inputs` cannot be read.
    """
    maker = _Maker(stated)
    plan = stated.plan
    groups = plan.groups or {"": Group()}
    by_run = [(group, run) for group, of in groups.items() for run in plan.taking_part(of)]
    if plan.order == "runs":
        return [maker.job(*pair, seed) for pair in by_run for seed in plan.seeds]
    return [maker.job(*pair, seed) for seed in plan.seeds for pair in by_run]


class _Maker:
    def __init__(self, stated: StatedPlan):
        self.stated, self.plan = stated, stated.plan
        self.inputs = {name: self._input(name) for name in stated.plan.inputs}

    def job(self, group: str, run: str, seed: int) -> Job:
        planned = self.plan.runs[run]
        environment = self._variables(group, planned)
        steps = planned.steps or self.plan.steps

        def filled(text: str, key: str) -> str:
            return self._filled(text, key, {"group": group, "run": run, "seed": seed, "steps": steps})

        return Job(
            group,
            run,
            seed,
            self._folder(group, run, seed),
            tuple(filled(word, f"runs.{run}.command") for word in self._line(group, planned)),
            {name: filled(value, f"runs.{run}.environment") for name, value in environment.items()},
            tuple(job_name(group, other, seed) for other in planned.needed()),
            planned.counts_needs,
            steps,
            planned.resume,
            planned.shown,
            self._specification(group, run, seed),
        )

    def _specification(self, group: str, run: str, seed: int) -> dict[str, Any]:
        planned = self.plan.runs[run]
        return {
            "command": shlex.join(self._line(group, planned)),
            "environment": self._variables(group, planned),
            "seed": seed,
            "steps": planned.steps or self.plan.steps,
            "inputs": self.inputs,
            "needs": {other: self._specification(group, other, seed) for other in planned.needed()},
        }

    def _line(self, group: str, run: PlannedRun) -> list[str]:
        """The words of a run's command, places not yet filled in."""
        return [*_words(run.command or self.plan.command or ""), *run.overrides, *self._group(group).overrides]

    def _group(self, name: str) -> Group:
        return self.plan.groups.get(name) or Group()

    def _variables(self, group: str, run: PlannedRun) -> dict[str, str]:
        return {**self.plan.environment, **self._group(group).environment, **run.environment}

    def _folder(self, group: str, run: str, seed: int) -> Path:
        return self.stated.out / job_name(group, run, seed)

    def _input(self, name: str) -> str:
        path = Path(self._filled(name, "inputs", {}))
        try:
            return fingerprint_of_file(path.expanduser())
        except OSError as error:
            raise ConfigError("inputs", name, f"needs a file that can be read ({error})") from error

    def _filled(self, text: str, key: str, at: dict[str, Any]) -> str:
        """The text with its places filled in."""
        known = {"plan": str(self.stated.path.parent)}
        if at:
            known |= {name: str(at[name]) for name in ("seed", "steps", "group")}
            known["out"] = str(self._folder(at["group"], at["run"], at["seed"]))

        def fill(place: re.Match[str]) -> str:
            if place["run"] and at:
                return str(self._folder(at["group"], place["run"], at["seed"]))
            if place["name"] not in known:
                allowed = f"known are {', '.join(f'{{{name}}}' for name in known)}"
                raise ConfigError(key, place[0], allowed + (" and {run:NAME}" if at else ""))
            return known[place["name"]]

        return _PLACE.sub(fill, text)


def _words(command: Command) -> tuple[str, ...]:
    if not isinstance(command, str):
        return command
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError("command", command, f"needs a line that a shell could split ({error})") from error
