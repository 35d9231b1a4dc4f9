"""Reads `STEP.jsonl`, a dump of verl's validation, row by row into compact columns.

verl writes one line a sample: `input`, `output`, `gts`, `score`, `step`, `uid` and every reward extra field.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.core.phrases import Detector
from tapo.evaluation.caveats import HALF_WRITTEN
from tapo.evaluation.lengths import TokenCounter
from tapo.evaluation.samples import UNKNOWN, SampleColumns, Samples
from tapo.files.json_lines import Line, read_json_lines
from tapo.rewards import last_boxed
from tapo.rewards.math_verify_reward import normalise

_SESSION = re.compile(r"(?P<prompt>.+)_(?P<session>\d+)_(?P<output>\d+)")
"""verl's `uid` of a sample."""


@dataclass(frozen=True)
class Dump:
    """What one file holds."""

    path: Path
    sha256: str
    benchmarks: dict[str | None, Samples]
    """By `data_source` where rows carry it; else all under None."""
    fields: dict[str, str]
    """Which field each figure was read from."""
    notes: tuple[str, ...]
    """Whatever was left out or is uncertain, with its count."""


@dataclass(frozen=True)
class _Output:
    """One row, and what must be known of it before it is known whether it is its session's last."""

    line: Line
    row: dict[str, Any]
    source: str | None
    session: tuple[str, str | int]
    """Uids of prompt and session; a row without any is a session by itself."""
    problem: bytes
    number: float | None
    """What decides about correctness; None if it is missing or not finite."""


def read_dump(
    path: Path, detector: Detector, *, reward_threshold: float = REWARD_THRESHOLD, counter: TokenCounter | None = None
) -> Dump:
    """Read a dump in one pass; memory does not grow with the length of texts.

    A sample is correct iff its `acc`, or `score` where the dump has no `acc`, exceeds `reward_threshold`. A last line
    that is half-written and rows whose number is missing or not finite are left out and noted.

    Args:
        counter: counts tokens of outputs where the dump has no `response_tokens`; without one, characters are counted.

    Raises:
        ValueError: the file cannot be read or has no usable row, a line before the last is no JSON object, or a row
            lacks a field.
    """
    reader = _Reader(path, detector, reward_threshold, counter)
    for output in reader.last_outputs():
        reader.add(output)
    return reader.finish()


class _Reader:
    """The state of one pass over a file."""

    def __init__(self, path: Path, detector: Detector, reward_threshold: float, counter: TokenCounter | None):
        self.path, self.detector, self.reward_threshold, self.counter = path, detector, reward_threshold, counter
        self.digest = hashlib.sha256()
        self.counts: Counter[str] = Counter()
        self.rows = 0
        self.fields: dict[str, str] = {}
        self.columns: dict[str | None, SampleColumns] = {}
        self.answers: dict[str, int] = {}
        self.first_uid: dict[tuple[str | None, bytes], str] = {}
        self.repeated: set[tuple[str | None, bytes]] = set()

    def last_outputs(self) -> Iterator[_Output]:
        """verl dumps every output of a session, in order and with the session's score; the last one is its answer.

        The problem is the first one's, since the `input` of a later turn would not tell it.
        """
        for _, outputs in groupby(self._outputs(), key=lambda output: (output.source, output.session)):
            *earlier, last = outputs
            if usable := sum(output.number is not None for output in earlier):
                self.counts["earlier outputs of multi-output sessions left out"] += usable
            yield replace(last, problem=earlier[0].problem) if earlier else last

    def _outputs(self) -> Iterator[_Output]:
        lines = read_json_lines(
            self.path, on_line=self.digest.update, on_half_written=lambda _: self.counts.update([HALF_WRITTEN])
        )
        for line, row in lines:
            self.fields = self.fields or self._fields_of(row)
            self.rows += 1
            yield self._checked(line, row)

    def _fields_of(self, row: dict[str, Any]) -> dict[str, str]:
        """Decide by the first row which field each figure is read from."""
        fields = {"correct": "acc" if "acc" in row else "score"}
        fields["answer"] = "pred" if "pred" in row else "last \\boxed{} of output"
        fields |= {name: name for name in ("unparsable", "truncated", "data_source") if name in row}
        dumped = "response_tokens" in row
        if dumped:
            self.counter = None
        fields["length"] = "response_tokens" if dumped else "output"
        fields["length unit"] = "tokens" if dumped or self.counter else "characters"
        return fields

    def _checked(self, line: Line, row: dict[str, Any]) -> _Output:
        missing = [name for name in ("input", "output", self.fields["correct"]) if name not in row]
        if missing:
            raise ValueError(f"{line}: field {', '.join(missing)} is missing; got {', '.join(row)}")
        for name in ("input", "output"):
            if not isinstance(row[name], str):
                raise ValueError(f"{line}: {name} = {row[name]!r} cannot work: needs a text")
        source = row.get("data_source") if "data_source" in self.fields else None
        uid = _SESSION.fullmatch(row["uid"]) if isinstance(row.get("uid"), str) else None
        return _Output(
            line,
            row,
            source=None if source is None else str(source),
            session=(uid["prompt"], uid["session"]) if uid else ("", line.number),
            problem=_digest(row["input"], str(row.get("gts"))),
            number=self._number(row),
        )

    def _number(self, row: dict[str, Any]) -> float | None:
        key = self.fields["correct"]
        number = row[key]
        if not isinstance(number, int | float) or not math.isfinite(number):
            self.counts[f"rows without a finite {key} left out"] += 1
            return None
        if number not in (0, 1):
            self.counts[f"rows with {key} other than 0 and 1, correct if > {self.reward_threshold:g}"] += 1
        return number

    def add(self, output: _Output) -> None:
        """Reduce one row to its entry in each column."""
        if output.number is None:
            return
        problem = output.source, output.problem
        if self.first_uid.setdefault(problem, output.session[0]) != output.session[0]:
            self.repeated.add(problem)
        columns, row = self.columns.setdefault(output.source, SampleColumns()), output.row
        columns.problem.append(columns.problem_of(output.problem))
        columns.correct.append(output.number > self.reward_threshold)
        columns.reflects.append(self.detector.reflects(row["output"]))
        columns.truncated.append(_flag(row.get("truncated")))
        columns.unparsable.append(_flag(row.get("unparsable")))
        columns.answer.append(self._vote(row))
        columns.length.append(self._length(output, columns))

    def _length(self, output: _Output, columns: SampleColumns) -> int:
        if self.fields["length"] == "response_tokens":
            dumped = output.row.get("response_tokens")
            if not isinstance(dumped, int):
                raise ValueError(f"{output.line}: response_tokens = {dumped!r} cannot work: needs an integer")
            return dumped
        if self.counter:
            return self.counter.later(output.row["output"], columns)
        return len(output.row["output"])

    def _vote(self, row: dict[str, Any]) -> int:
        if row.get("unparsable") == 1:
            return UNKNOWN
        if self.fields["answer"] == "pred":
            answer = row.get("pred")
        else:
            boxed = last_boxed(row["output"])
            answer = None if boxed is None else normalise(boxed)
        if answer is None or answer == "":
            return UNKNOWN
        return self.answers.setdefault(str(answer), len(self.answers))

    def finish(self) -> Dump:
        """The columns as arrays."""
        if self.counter:
            self.counter.flush()
        if not self.columns:
            raise ValueError(f"{self.path}: got {self.rows} rows, none of them usable; needs at least one")
        if self.repeated:
            self.counts["problems asked more than once, their samples taken together"] = len(self.repeated)
        samples = {
            source: Samples.from_columns(
                columns, self.fields["length unit"], dumped_answers=self.fields["answer"] == "pred"
            )
            for source, columns in sorted(self.columns.items(), key=lambda item: item[0] or "")
        }
        notes = tuple(f"{what}: {count}" for what, count in self.counts.items())
        return Dump(self.path, self.digest.hexdigest(), samples, self.fields, notes)


@lru_cache(maxsize=1)  # the samples of a problem mostly stand together
def _digest(prompt: str, ground_truth: str) -> bytes:
    return hashlib.blake2b(f"{prompt}\0{ground_truth}".encode(errors="surrogatepass"), digest_size=16).digest()


def _flag(value: Any) -> int:
    return int(value) if value in (0, 1) else UNKNOWN
