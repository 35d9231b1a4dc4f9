"""The geometry of a line chart over steps; the page's template draws it as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 10, 30
TICKS = 5
MAX_MARKED_STEPS = 60
"""Points are marked up to so many steps."""


class Tick(NamedTuple):
    """Where an axis is labelled, in SVG units."""

    position: float
    label: str


class Line(NamedTuple):
    """One series: its points in SVG units."""

    name: str
    points: list[tuple[float, float]]

    @property
    def path(self) -> str:
        """As the attribute `points` of an SVG polyline."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """A line chart with its origin at the lower left corner (LEFT, HEIGHT - BOTTOM)."""

    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marked: bool

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def line_chart(counts: Mapping[int, Mapping[str, int]], names: Sequence[str]) -> Chart:
    """One line for each name over the steps of `counts`, which holds at least one; the y axis starts at 0."""
    steps = sorted(counts)
    first, last = steps[0], steps[-1]
    y_values = ticks(0, max(1, max(counts[step].get(name, 0) for step in steps for name in names)))

    def x(step: int) -> float:
        share = (step - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(count: int) -> float:
        return round(HEIGHT - BOTTOM - count / y_values[-1] * (HEIGHT - TOP - BOTTOM), 1)

    return Chart(
        lines=[Line(name, [(x(step), y(counts[step].get(name, 0))) for step in steps]) for name in names],
        x_ticks=[Tick(x(step), str(step)) for step in ticks(first, last) if first <= step <= last],
        y_ticks=[Tick(y(count), f"{count:,}") for count in y_values],
        marked=len(steps) <= MAX_MARKED_STEPS,
    )


def ticks(low: int, high: int) -> list[int]:
    """Round integers about `TICKS` to a range, from the last at or below `low` to the first at or above `high`."""
    size = 1
    while (high - low) / size > TICKS:
        # 1, 2, 5, 10, 20, 50, ...
        size = size * 5 // 2 if str(size).startswith("2") else size * 2
    return [size * i for i in range(low // size, -(-high // size) + 1)]
