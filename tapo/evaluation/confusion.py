"""Labels given by hand against the verdicts of a detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Confusion:
    """{(label, verdict): examples}; a verdict may be one that no label stands for."""

    counts: Mapping[tuple[str, str], int]

    @property
    def total(self) -> int:
        """Number of examples."""
        return sum(self.counts.values())

    @property
    def accuracy(self) -> float:
        """Share of examples on which both agree."""
        return sum(count for (label, verdict), count in self.counts.items() if label == verdict) / self.total

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None where chance alone would agree always."""
        labels = {label for label, _ in self.counts}
        chance = sum(self.support(label) * self.told(label) for label in labels) / self.total**2
        return None if chance == 1 else (self.accuracy - chance) / (1 - chance)

    def support(self, label: str) -> int:
        """Examples of a label."""
        return sum(count for (own, _), count in self.counts.items() if own == label)

    def told(self, verdict: str) -> int:
        """Examples of a verdict."""
        return sum(count for (_, told), count in self.counts.items() if told == verdict)

    def precision(self, label: str) -> float | None:
        """Share of the label among its verdicts; None without any."""
        return self._agreed(label, self.told(label))

    def recall(self, label: str) -> float | None:
        """Share of the label's examples that were told; None without any."""
        return self._agreed(label, self.support(label))

    def _agreed(self, label: str, examples: int) -> float | None:
        return self.counts.get((label, label), 0) / examples if examples else None

    def to_markdown(self, labels: Sequence[str]) -> str:
        """Precision and recall of each label, and what its examples were told, as a table."""
        rows = ["| label | examples | precision | recall | told otherwise |", "| --- | --- | --- | --- | --- |"]
        for label in labels:
            others = [f"{count} {told}" for (own, told), count in sorted(self.counts.items()) if own == label != told]
            rates = (self.precision(label), self.recall(label))
            shown = " | ".join("-" if rate is None else f"{rate:.2f}" for rate in rates)
            rows.append(f"| {label} | {self.support(label)} | {shown} | {', '.join(others) or '-'} |")
        return "\n".join(rows)
