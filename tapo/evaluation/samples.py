"""The compact columns that a dump is reduced to: no text is held, so a million rows take tens of megabytes."""

from array import array
from dataclasses import dataclass

import numpy as np

UNKNOWN = -1


class SampleColumns:
    """One benchmark at one step while it is read; one entry a sample."""

    def __init__(self) -> None:
        self.problem_keys: dict[bytes, int] = {}
        """Digest of prompt and ground truth -> index of the problem, in order of appearance."""
        self.problem, self.length = array("i"), array("i")
        self.correct, self.reflects, self.truncated, self.unparsable = (array("b") for _ in range(4))
        self.answer = array("i")
        """Index of the answer's text among those of the dump; `UNKNOWN` casts no vote."""

    def problem_of(self, key: bytes) -> int:
        """Index of the problem with that digest."""
        return self.problem_keys.setdefault(key, len(self.problem_keys))


@dataclass(frozen=True)
class Samples:
    """One benchmark of one run at one step. Arrays are [N], one entry a sample."""

    keys: tuple[bytes, ...]
    """One digest a problem, equal in every run that asked the same prompt with the same ground truth."""
    problem: np.ndarray
    correct: np.ndarray
    reflects: np.ndarray
    length: np.ndarray
    length_unit: str
    """`tokens` or `characters`."""
    truncated: np.ndarray | None
    """None where the dump cannot tell; so with the next two."""
    unparsable: np.ndarray | None
    answer: np.ndarray | None

    @classmethod
    def from_columns(cls, columns: SampleColumns, length_unit: str, *, dumped_answers: bool) -> "Samples":
        """The columns as arrays.

        Args:
            dumped_answers: answers were dumped, so that none at all means none was given; else it means that this
                dump's answers do not stand in boxes, and the votes are unknown.
        """
        answer = np.frombuffer(columns.answer, dtype=np.int32)
        return cls(
            keys=tuple(columns.problem_keys),
            problem=np.frombuffer(columns.problem, dtype=np.int32),
            correct=np.frombuffer(columns.correct, dtype=np.int8).astype(bool),
            reflects=np.frombuffer(columns.reflects, dtype=np.int8).astype(bool),
            length=np.frombuffer(columns.length, dtype=np.int32),
            length_unit=length_unit,
            truncated=_known(columns.truncated),
            unparsable=_known(columns.unparsable),
            answer=answer if dumped_answers or np.any(answer != UNKNOWN) else None,
        )

    def per_problem(self, values_N: np.ndarray | None = None) -> np.ndarray:
        """Sums over each problem's samples; without values, their number. float64 [P]."""
        weights: np.ndarray | None = None if values_N is None else values_N.astype(float)
        return np.bincount(self.problem, weights=weights, minlength=len(self.keys)).astype(float)


def _known(column: array) -> np.ndarray | None:
    values = np.frombuffer(column, dtype=np.int8)
    return None if np.any(values == UNKNOWN) else values.astype(bool)
