"""Runs a command, keeps its output in a file, and shows one line per training step instead.

    python -m tapo.training_progress FOLDER STEPS TITLE -- COMMAND...        (STEPS: 0 if unknown)

verl writes several thousand characters a step. Here `FOLDER/log` keeps them, and the terminal shows a progress bar with
reward and constructions, read from `FOLDER/metrics.jsonl` (verl's `file` logger). A failure prints the log's end.
"""

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


def run_showing_progress(folder: Path, steps: int, title: str, command: Sequence[str], console: Console) -> int:
    """Run `command`; return its exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = folder / "metrics.jsonl"
    earlier = metrics.stat().st_size if metrics.exists() else 0
    with (folder / "log").open("a") as log, Progress(title, steps, console, "step") as progress:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        for record in _records_until_end(metrics, earlier, process):
            progress.show(record["step"], describe(record["data"]))
    if process.returncode:
        lines = (folder / "log").read_text(errors="replace").splitlines()[-TAIL_LINES:]
        say("\n".join(lines), console)
        console.print(f"[red]{title} failed with status {process.returncode}; the whole log is {folder / 'log'}[/red]")
    return process.returncode


def _records_until_end(metrics: Path, end: int, process: subprocess.Popen) -> Iterator[dict[str, Any]]:
    """What the process writes to its metrics behind the first `end` bytes, as it comes."""
    ended = False
    while not ended:
        ended = process.poll() is not None
        if metrics.exists():
            if metrics.stat().st_size < end:  # begun anew
                end = 0
            # A line that is still being written comes with the next look.
            for line, record in read_json_lines(metrics, start=end, on_half_written=lambda path: None):
                end = line.end
                yield record
        if not ended:
            time.sleep(POLL_S)


def main(arguments: Sequence[str]) -> int:
    """Parse `FOLDER STEPS TITLE -- COMMAND...` and run."""
    if len(arguments) < 5 or arguments[3] != "--":
        raise SystemExit(__doc__)
    folder, steps, title, _, *command = arguments
    return run_showing_progress(Path(folder), int(steps), title, command, Console())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
