"""Runs a command, keeps its output in a file, and shows one line per training step instead.

    python -m tapo.training_progress FOLDER STEPS TITLE -- COMMAND...        (STEPS: 0 if unknown)

verl writes several thousand characters a step. Here `FOLDER/log` keeps them, and the terminal shows a progress bar with
reward and constructions, read from `FOLDER/metrics.jsonl` (verl's `file` logger), and before the first step what is
being started, as far as the log says. A failure prints the log's end.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tapo.files.json_lines import read_json_lines
from tapo.terminal import Progress, say

POLL_S = 1.0
TAIL_LINES = 40

STAGES = {
    "Ray is up, verl is being loaded": r"Started a local Ray instance|Connecting to existing Ray cluster",
    "reading the data": r"dataloader initialized|dataset len:",
    "loading the model": r"create worker group|Loading weights|Before FSDP",
    "starting the rollout engine": r"model engine initialized|reward loop manager initialized",
    "everything is up, the first responses are sampled": r"all initialize finished, ready to fit",
    "going on from a checkpoint": r"setting global step to|Resuming from",
    "training": r"Epoch 1/\d+:\s+0%",
    "validated": r"Dumped generations to \S*/validation/|Initial validation metrics",
    "saving a checkpoint": r"Saving checkpoint",
    "writing the model": r"Writing model shards",
}
"""What is being done, and what verl's log says then, in the order in which a run does it."""
_DOING = tuple(STAGES)
_HEADING = "heading"
_PATTERNS = [rf"^(?:\x1b\[1m)?== (?P<{_HEADING}>[^\x1b\n]+)"]
_PATTERNS += [f"(?P<s{number}>{said})" for number, said in enumerate(STAGES.values())]
_SAID = re.compile("|".join(_PATTERNS), re.MULTILINE)
"""A stage, or a heading as the scripts of `run_scripts` announce theirs."""


def describe(metrics: dict[str, Any]) -> str:
    """What is worth a glance at each step."""
    parts = []
    for name, key in (("loss", "train/loss"), ("validation loss", "val/loss"), ("reward", "critic/score/mean")):
        # A NaN is written as null: the loss of a validation set smaller than a batch, say.
        if metrics.get(key) is not None:
            parts.append(f"{name} {metrics[key]:.3f}")
    if "tapo/construct/attempted" in metrics:
        trained, attempted = metrics["tapo/construct/trained"], metrics["tapo/construct/attempted"]
        parts.append(f"constructed {trained:.0f} of {attempted:.0f}")
    accuracy = [value for key, value in metrics.items() if key.startswith("val-core/") and "/acc/mean@" in key]
    if accuracy and accuracy[0] is not None:
        parts.append(f"held-out accuracy {accuracy[0]:.3f}")
    return ", ".join(parts)


class RunWatch:
    """What has come to a run's log and metrics since the last look; what was there before is passed over."""

    def __init__(self, folder: Path):
        self._log, self._metrics = folder / "log", folder / "metrics.jsonl"
        self._log_end, self._metrics_end = _size(self._log), _size(self._metrics)
        self._doing, self._reached = "", -1

    def steps(self) -> Iterator[tuple[int, str]]:
        """(step, what is worth a glance) of each new step."""
        if not self._metrics.exists():
            return
        if _size(self._metrics) < self._metrics_end:  # begun anew
            self._metrics_end = 0
        # A line that is still being written comes with the next look.
        for line, record in read_json_lines(self._metrics, start=self._metrics_end, on_half_written=lambda path: None):
            self._metrics_end = line.end
            yield record["step"], describe(record["data"])

    def doing(self) -> str:
        """What the log says is being done now, if it says something else than at the last look; else ""."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(self._log_end)
            text = log.read()
        text = text[: text.rfind(b"\n") + 1]
        self._log_end += len(text)
        before = self._doing
        for said in _SAID.finditer(text.decode(errors="replace")):
            self._note(said)
        return self._doing if self._doing != before else ""

    def _note(self, said: re.Match[str]) -> None:
        if said.lastgroup == _HEADING:
            self._doing, self._reached = said[_HEADING].strip(), -1
            return
        stage = int((said.lastgroup or "").removeprefix("s"))
        # Ray brings the lines of its processes late and in no order, so that a stage behind the last one is no news.
        if stage == 0 or stage > self._reached:
            self._doing, self._reached = _DOING[stage], stage


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def run_showing_progress(folder: Path, steps: int, title: str, command: Sequence[str], console: Console) -> int:
    """Run `command`; return its exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    watch = RunWatch(folder)
    with (folder / "log").open("a") as log, Progress(title, steps, console, "step") as progress:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        progress.note(f"starting, its output goes to {folder / 'log'}")
        ended = False
        while not ended:
            ended = process.poll() is not None
            if told := watch.doing():
                progress.note(told)
            for step, status in watch.steps():
                progress.show(step, status)
            if not ended:
                time.sleep(POLL_S)
    if process.returncode:
        show_failure(folder, title, process.returncode, console)
    return process.returncode


def show_failure(folder: Path, title: str, status: int, console: Console) -> None:
    """The end of a run's log, and where all of it is."""
    lines = (folder / "log").read_text(errors="replace").splitlines()[-TAIL_LINES:]
    say("\n".join(lines), console)
    say(f"{title} failed with status {status}; the whole log is {folder / 'log'}", console, style="red")


def main(arguments: Sequence[str]) -> int:
    """Parse `FOLDER STEPS TITLE -- COMMAND...` and run."""
    if len(arguments) < 5 or arguments[3] != "--":
        raise SystemExit(__doc__)
    folder, steps, title, _, *command = arguments
    return run_showing_progress(Path(folder), int(steps), title, command, Console())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
