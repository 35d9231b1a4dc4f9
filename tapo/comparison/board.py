"""How far the runs of a comparison have come: a line a run on a terminal, printed lines elsewhere."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tapo.terminal import LINES, say


class Board:
    """Lines of those that run and one for all of them; use as a context manager."""

    def __init__(self, total: int, console: Console):
        self._console, self._total, self._done = console, total, 0
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn()]
        status = TextColumn("{task.fields[status]}", markup=False)
        self._bars = Progress(*columns, status, console=console, disable=not console.is_terminal)
        self._all = self._bars.add_task("runs", total=total, status="")
        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, int] = {}

    def __enter__(self) -> "Board":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def skip(self, name: str) -> None:
        """It was complete before."""
        self._count()
        say(f"{name}: complete already", self._console)

    def start(self, name: str, steps: int) -> None:
        """Its command has been started."""
        self._tasks[name] = self._bars.add_task(name, total=steps, status="starting")
        self._steps[name] = steps
        self._line(name, "started")

    def note(self, name: str, status: str) -> None:
        """What it is doing."""
        self._bars.update(self._tasks[name], status=status)
        self._line(name, status)

    def show(self, name: str, step: int, status: str) -> None:
        """It has done so many steps."""
        steps = self._steps[name]
        self._bars.update(self._tasks[name], completed=step, status=status)
        if step % max(1, steps // LINES) == 0 or step == steps:
            self._line(name, f"step {step} of {steps}{status and f', {status}'}")

    def finish(self, name: str, status: str) -> None:
        """It has ended, or cannot begin."""
        self._count()
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
        say(f"{name}: {status} ({self._done} of {self._total})", self._console)

    def _count(self) -> None:
        self._done += 1
        self._bars.update(self._all, completed=self._done)

    def _line(self, name: str, text: str) -> None:
        if not self._console.is_terminal:
            say(f"{name}: {text}", self._console)
