"""The plan of a comparison: a YAML file that states what is compared before anything runs."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from tapo.evaluation.options import Resamples
from tapo.options import AtLeastOne, AtLeastZero, ConfigError, Needs, NotNegative, Options

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_NEEDED = re.compile(r"\{run:([^{}]*)\}")

Name = Annotated[str, Needs("letters, digits, '-', '_' and '.'", lambda name: _NAME.fullmatch(name) is not None)]
Words = Annotated[str, Needs("a sentence", lambda text: bool(text.strip()))]


def _as_tuple(value: Any) -> Any:
    """YAML's lists."""
    return tuple(value) if isinstance(value, list) else value


def _as_text(value: Any) -> Any:
    """YAML's scalars as a program sees them in its environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Variables = dict[str, Annotated[str, BeforeValidator(_as_text)]]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Command = str | Texts
"""A line, split as a shell would, or its words; no shell reads it."""


class Room(Options):
    """What one run takes of the machine."""

    cores: AtLeastOne = 2
    """CPU cores that it keeps busy."""
    memory_gib: NotNegative = 8.0
    """Of main memory, at its height."""
    gpus: AtLeastZero = 0
    """Each run sees GPUs of its own (`CUDA_VISIBLE_DEVICES`); 0 leaves the variable alone."""


class PlannedRun(Options):
    """One way to train, run with every seed."""

    command: Command | None = None
    """In place of the plan's."""
    overrides: Texts = ()
    """Words behind the command."""
    environment: Variables = Field(default_factory=dict)
    """Variables beside the plan's and the group's, and before them."""
    needs: Texts = ()
    """Runs that are finished first; those that `{run:NAME}` names are among them."""
    counts_needs: bool = True
    """Whether what the runs that it needs have spent counts as spent by it; false where its own metrics hold it
    already. Those of `run_scripts/baseline_sft.sh` do, which is seen without a word."""
    steps: AtLeastOne | None = None
    """In place of the plan's."""
    resume: bool = True
    """Whether the command, started again in its folder, goes on where it was killed; else the folder is emptied."""
    shown: bool = True
    """Whether it stands in the report; one that only collects data for others need not."""

    def needed(self) -> list[str]:
        """Every run that is finished first."""
        texts = [self.command, *self.overrides, *self.environment.values()]
        words = [word for text in texts if text for word in ([text] if isinstance(text, str) else text)]
        return list(dict.fromkeys([*self.needs, *(name for word in words for name in _NEEDED.findall(word))]))


class Group(Options):
    """The same runs once more under other conditions, with tables of their own."""

    says: str = ""
    """What the conditions are."""
    environment: Variables = Field(default_factory=dict)
    """Variables beside the plan's, and before them."""
    overrides: Texts = ()
    """Words behind those of each run."""
    runs: Texts | None = None
    """Names of those that take part (default: all)."""


class Plan(Options):
    """What is compared, how it is run, and what would count as a result.

    In commands, overrides and variables `{plan}` is the plan's folder, `{out}` the run's own, `{run:NAME}` that of
    another run with the same seed, and `{seed}`, `{steps}` and `{group}` are what they say.
    """

    statement: Words
    """What is compared and what would count as a result; stands on top of the report."""
    out: str
    """Folder of everything written; a relative one starts at the working directory, as paths in commands do."""
    seeds: Annotated[tuple[AtLeastZero, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    runs: dict[Name, PlannedRun]
    """In the order of the report."""
    against: str
    """The run that the others are compared with."""
    steps: AtLeastOne
    """Training steps, and where the runs are compared at equal steps."""
    command: Command | None = None
    """Of every run that has none of its own."""
    environment: Variables = Field(default_factory=dict)
    """Variables of every run."""
    groups: dict[Name, Group] = Field(default_factory=dict)
    """By name; without any, there is one set of tables."""
    inputs: Texts = ()
    """Files (`{plan}/...` or from the working directory) whose content decides about the runs: configs, say."""
    each: Room = Room()
    """What one run takes."""
    at_once: AtLeastOne | None = None
    """Runs at the same time (default: as many as the machine has room for)."""
    rollouts: AtLeastOne | None = None
    """Rollouts a query, to count the tokens of groups that dynamic sampling generates and discards."""
    resamples: Resamples = 10_000
    """Of problems, for the intervals."""
    order: Literal["seeds", "runs"] = "seeds"
    """Whether all runs of the first seed come first, or all seeds of the first run."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        known = ", ".join(self.runs)
        if self.against not in self.runs:
            raise ConfigError("against", self.against, f"needs a run of the plan: {known}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("seeds", self.seeds, "needs different ones")
        for name, run in self.runs.items():
            if run.command is None and self.command is None:
                raise ConfigError(f"runs.{name}.command", None, "needs one, here or for the whole plan")
            for other in run.needed():
                if other not in self.runs:
                    raise ConfigError(f"runs.{name}.needs", other, f"needs a run of the plan: {known}")
            if circle := self._circle([name]):
                raise ConfigError(f"runs.{name}.needs", circle, "needs runs that do not need it themselves")
        if not self.runs[self.against].shown:
            raise ConfigError(f"runs.{self.against}.shown", False, "needs true for the run of `against`")
        for name, group in self.groups.items():
            self._check_group(name, group)
        return self

    def _circle(self, way: list[str]) -> list[str]:
        """The names on a way of needs that comes back to where it began; [] if there is none."""
        if way[0] in way[1:]:
            return way
        if way[-1] in way[:-1]:  # a circle beside the way, which is found from its own runs
            return []
        ways = (self._circle([*way, name]) for name in self.runs[way[-1]].needed() if name in self.runs)
        return next((way for way in ways if way), [])

    def _check_group(self, name: str, group: Group) -> None:
        taking_part = self.taking_part(group)
        for run in taking_part:
            if run not in self.runs:
                raise ConfigError(f"groups.{name}.runs", run, f"needs a run of the plan: {', '.join(self.runs)}")
            if missing := [other for other in self.runs[run].needed() if other not in taking_part]:
                raise ConfigError(f"groups.{name}.runs", taking_part, f"needs {missing[0]} too, since {run} needs it")
        if self.against not in taking_part:
            raise ConfigError(f"groups.{name}.runs", taking_part, f"needs {self.against}, the run of `against`")

    def taking_part(self, group: Group) -> tuple[str, ...]:
        """The runs of a group."""
        return tuple(self.runs) if group.runs is None else group.runs


@dataclass(frozen=True)
class StatedPlan:
    """A plan as it was read, with where it stands."""

    plan: Plan
    path: Path
    text: str

    @property
    def digest(self) -> str:
        """`sha256:...` of the file."""
        return f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"

    @property
    def out(self) -> Path:
        """The folder of everything written."""
        return Path(self.plan.out).expanduser().resolve()


def read_plan(path: Path) -> StatedPlan:
    """Read and check a plan.

    Raises:
        ValueError: the file cannot be read, or a `ConfigError` for a key that cannot work.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"PLAN = {str(path)!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"PLAN = {str(path)!r} cannot work: needs a mapping of statement, out, seeds, runs and more")
    return StatedPlan(Plan.from_mapping(values), path.expanduser().resolve(), text)
