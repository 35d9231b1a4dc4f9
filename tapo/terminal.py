"""What a terminal shows: lines as they are, what a model wrote, and how far something has come."""

import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

LINES = 40
"""Lines printed at most where a bar cannot be redrawn."""

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), 0x2421)


def say(text: str, console: Console, style: str | None = None) -> None:
    """Print a line as it is: brackets are no markup, numbers have no colour, the terminal wraps it."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def harmless(text: str) -> str:
    """The text with its control characters shown as pictures, one for one: a terminal would obey escape sequences."""
    return text.translate(_PICTURES)


def shortened(text: str, head: int, tail: int) -> str:
    """Beginning and end of a text, and how many characters lie between them; all of it where that is shorter."""
    left_out = len(text) - head - tail
    if left_out <= 0:
        return text
    return f"{text[:head]}\n[... {left_out} characters ...]\n{text[len(text) - tail :]}"


class Progress:
    """A bar, or a line now and then where the output is no terminal; use as a context manager.

    Args:
        total: items, 0 if unknown.
        item: what one is called in lines.
    """

    def __init__(self, title: str, total: int, console: Console, item: str = ""):
        self._title, self._total, self._console = title, total, console
        self._item = f"{item} " if item else ""
        self._done = self._new = 0
        self._started = time.monotonic()
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn()]
        status = TextColumn("{task.fields[status]}")
        self._bar = Bar(*columns, status, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(title, total=total or None, status="starting")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, done: int, status: str) -> None:
        """So many items are done."""
        self._bar.update(self._task, completed=done, status=status)
        due = done % max(1, self._total // LINES) == 0 or done == self._total
        if due and not self._console.is_terminal:
            of = f" of {self._total}" if self._total else ""
            say(f"{self._title}: {self._item}{done}{of}, {status}", self._console)

    def note(self, status: str) -> None:
        """What is being done, where no item is done yet or the next one takes long."""
        self._bar.update(self._task, status=status)
        if not self._console.is_terminal:
            say(f"{self._title}: {status}", self._console)

    def advance(self, *, done_before: bool = False) -> None:
        """One item further, with rate and time left; items done by an earlier call do not count towards the rate."""
        self._done += 1
        if done_before:
            self._bar.update(self._task, completed=self._done)
            return
        self._new += 1
        rate = self._new / max(time.monotonic() - self._started, 1e-3)
        self.show(self._done, f"{rate:.1f}/s, {timedelta(seconds=round((self._total - self._done) / rate))} left")
