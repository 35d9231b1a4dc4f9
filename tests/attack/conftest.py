"""What is attacked with, how often, and what came of it: the figures of docs/robustness.md."""

import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

HANG_S = 60.0
"""What one input may take on a busy machine; what the code under attack promises is less."""


@dataclass
class Tally:
    """Of one attack: inputs tried, those that took longer than they may, wrong results, and what was left behind."""

    name: str
    tried: int = 0
    hangs: int = 0
    wrong: list = field(default_factory=list)
    leaks: list = field(default_factory=list)

    @contextmanager
    def input(self, limit_s=HANG_S):
        """Around one input."""
        begin = time.monotonic()
        self.tried += 1
        yield
        self.hangs += time.monotonic() - begin > limit_s

    def check(self):
        """Fails the test where there is anything but inputs."""
        assert not (self.hangs or self.wrong or self.leaks), (
            f"{self.hangs} hangs, wrong {self.wrong[:5]}, leaks {self.leaks[:5]}"
        )


TALLIES: list[Tally] = []


@pytest.fixture
def tally(request):
    """The tally of a test, under the first line of its docstring."""
    tally = Tally(request.function.__doc__.strip().splitlines()[0].rstrip("."))
    TALLIES.append(tally)
    yield tally
    tally.check()


def pytest_collection_modifyitems(items):
    for item in items:
        if "attack" in item.path.parts:
            item.add_marker(pytest.mark.attack)


def pytest_terminal_summary(terminalreporter):
    if TALLIES:
        terminalreporter.section("attack")
        for one in TALLIES:
            terminalreporter.write_line(
                f"{one.name}: {one.tried:,} tried, {one.hangs} hangs, {len(one.wrong)} wrong, {len(one.leaks)} leaks"
            )
