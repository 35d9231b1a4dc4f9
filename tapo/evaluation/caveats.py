"""What a reader must know besides the numbers: whatever was left out, assumed or uncertain."""

from dataclasses import dataclass, field

HALF_WRITTEN = "half-written last line left out"


@dataclass
class Caveats:
    """Collects them; one that holds at several steps of a benchmark becomes one line."""

    _steps: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, where: str, *texts: str, step: int | None = None) -> None:
        """`where` names a run, a benchmark of it, or a comparison."""
        for text in texts:
            self._steps.setdefault((where, text), []).extend([] if step is None else [step])

    def lines(self) -> list[str]:
        """In order of first appearance."""
        return [f"{where}{_at(steps)}: {text}" for (where, text), steps in self._steps.items()]


def _at(steps: list[int]) -> str:
    if not steps:
        return ""
    return f", step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}"
