"""What is known of a construction and of a trained row: one record each, written as JSON lines or to parquet."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tapo.core.attempt import Attempt
from tapo.core.funnel import TRAINED
from tapo.files.json_lines import Line, end_cut_line, read_at, read_json_lines

logger = logging.getLogger(__name__)

UNPARSED = ("bad_format", "unsupported_query", "empty_response", "does_not_fit", "timeout", "error")
"""Outcomes of constructions whose answer, where there was one, could not be read."""


class Record(BaseModel):
    """What every record is."""

    model_config = ConfigDict(frozen=True, strict=True, ser_json_inf_nan="constants")

    files: ClassVar[str]
    """How the names of the files begin that hold it."""


class ConstructionRecord(Record):
    """One attempted construction, of a run or of a cold start."""

    files = "constructions"

    step: int
    """The one that submitted the query; 0 in a cold start."""
    uid: str
    """The query."""
    key: str
    """The trained row's name."""
    query: str | list
    """The last message; a list where it holds several parts."""
    wrong_session: int
    wrong: str
    wrong_reward: int | float
    correct_session: int
    correct: str
    answer: str
    prefix: str | None
    reflection: str | None
    correction: str | None
    prefix_length: int | None
    """Tokens kept of the wrong response; None where nothing was spliced, as of the three texts."""
    reward: int | float | None
    outcome: str
    """`trained`, or the reason of rejection."""
    reached: list[str] | None = None
    """Stages of `FUNNEL`; None in dumps that do not say."""
    is_correct: bool | None = None
    """As the run saw it; None where it was not scored, and in dumps that do not say."""
    has_reflection: bool | None = None
    """None where nothing was spliced, and in a full reconstruction."""
    check: str | None = None
    """What the run's check said of the text: a label, or "" for nothing to object; None where it was not asked."""
    answer_tokens: int = 0
    """Decoded for it, over all requests."""
    prompt_tokens: int = 0
    """Of the prompts of these requests."""
    placed_tokens: int = 0
    """The wrong response's own that were put into the answer."""
    anchor: str | None = None
    """How the quoted passage was found; None where none was looked for."""
    own: bool | None = None
    """Whether the policy corrected by itself; None in dumps that do not say."""
    wrong_tokens: int = 0
    tokens: int = 0
    """Of the trajectory."""
    ids: list[int] | None = None
    wrong_ids: list[int] | None = None
    token_lengths: list[int] | None = None
    """Characters of the trajectory that each of its tokens completes."""

    @classmethod
    def of(cls, attempt: Attempt, *, step: int, uid: str, key: str, keep_prefix: bool = True) -> "ConstructionRecord":
        """What is known of an attempt, but for token ids."""
        candidate, spliced = attempt.candidate, attempt.spliced
        return cls(
            step=step,
            uid=uid,
            key=key,
            query=candidate.prompt[-1].get("content") or "" if candidate.prompt else "",
            wrong_session=candidate.wrong.number,
            wrong=candidate.wrong.text,
            wrong_reward=candidate.wrong.reward,
            correct_session=candidate.correct.number,
            correct=candidate.correct.text,
            answer=attempt.answer,
            prefix=spliced.prefix if spliced else None,
            reflection=spliced.reflection if spliced else None,
            correction=spliced.correction if spliced else None,
            prefix_length=spliced.prefix_length if spliced else None,
            reward=attempt.reward,
            outcome=attempt.outcome,
            reached=attempt.reached,
            is_correct=attempt.is_correct,
            has_reflection=spliced.has_reflection if spliced and keep_prefix else None,
            check=attempt.check,
            answer_tokens=attempt.usage.decoded,
            prompt_tokens=attempt.usage.prompt,
            placed_tokens=attempt.usage.placed,
            anchor=attempt.anchor,
            own=attempt.own,
            wrong_tokens=len(candidate.wrong.ids),
            tokens=len(spliced.ids) if spliced else 0,
        )

    @property
    def trajectory(self) -> str:
        """The micro-reflective trajectory: the response that is trained; empty where nothing was spliced."""
        return (self.prefix or "") + (self.reflection or "") + (self.correction or "")

    def correct_above(self, reward_threshold: float) -> bool:
        """Whether the trajectory is correct; in a dump that does not say, whether its reward exceeds the threshold."""
        if self.is_correct is not None:
            return self.is_correct
        return self.reward is not None and self.reward > reward_threshold

    def stages(self, reward_threshold: float) -> list[str]:
        """The stages of the funnel that it has reached; of a dump that does not say, what its outcome tells."""
        if self.reached is not None:
            return self.reached
        reached = {
            "attempted": True,
            "parsed": self.prefix is not None or self.outcome not in UNPARSED,
            "spliced": self.prefix is not None,
            "correct": self.correct_above(reward_threshold),
            "trained": self.outcome == TRAINED,
        }
        return [stage for stage, yes in reached.items() if yes]


class TrainedRecord(Record):
    """One row of an update."""

    files = "trained"

    step: int
    key: str
    constructed: bool
    advantage: int | float
    """Normalised in its group, before token weights."""
    uid: str = ""
    reward: int | float | None = None
    weights: list[float] | None = None
    """Of each token of a constructed row."""


RecordT = TypeVar("RecordT", bound=Record)


class RecordWriter(Generic[RecordT]):
    """Appends records to a file of this process alone, so that processes never share one.

    What cannot be written is lost, and costs nothing else: a full disk must not end a run. A line that was cut, now or
    by a kill of the process that had this one's number, is taken back, so that the file stays one of whole lines.

    Args:
        folder: made if it is not there; nothing is written without one.
    """

    def __init__(self, folder: str | None, kind: type[RecordT]):
        self.path: Path | None = None
        self._lost = 0
        self._warned = False
        self._may_be_cut = True
        if folder is not None:
            self.path = Path(folder).expanduser() / f"{kind.files}-{socket.gethostname()}-{os.getpid()}.jsonl"
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, record: RecordT) -> None:
        """Append a record."""
        if self.path is None:
            return
        line = record.model_dump_json() + "\n"
        try:
            if self._may_be_cut:
                end_cut_line(self.path)
                self._may_be_cut = False
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            self._lost += 1
            self._may_be_cut = True
            if not self._warned:
                self._warned = True
                logger.warning("%s: records are lost (tapo/dump/lost), the run goes on: %s", self.path, error)

    def take_lost(self) -> int:
        """Records that could not be written since this was last asked."""
        lost, self._lost = self._lost, 0
        return lost


class RecordReader(Generic[RecordT]):
    """Streams the records of one kind in a dump folder, whatever process wrote them.

    Args:
        folder: what `algorithm.tapo.dump_dir` named.

    Attributes:
        unfinished: files whose half-written last line was skipped. Filled while reading.
    """

    def __init__(self, folder: str | Path, kind: type[RecordT]):
        self.paths = sorted(Path(folder).expanduser().glob(f"{kind.files}-*.jsonl"))
        self.kind: type[RecordT] = kind
        self.unfinished: list[Path] = []

    def __iter__(self) -> Iterator[RecordT]:
        return (record for _, record in self.placed())

    def placed(self) -> Iterator[tuple[Line, RecordT]]:
        """Every record with its place.

        Raises:
            ValueError: names file, line and field of a record that is broken or lacks a field.
        """
        self.unfinished.clear()
        for path in self.paths:
            for line, record in read_json_lines(path, on_half_written=self.unfinished.append):
                yield line, checked(self.kind, record, line)

    def load(self, line: Line) -> RecordT:
        """The record at a place that `placed` gave."""
        return checked(self.kind, read_at(line), line)


def checked(kind: type[RecordT], record: dict[str, Any], place: Line) -> RecordT:
    """A record out of plain values.

    Raises:
        ValueError: a field is missing or of another type; names it.
    """
    try:
        return kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            there = ", ".join(record) or "none"
            raise ValueError(f"{place}: field {name!r} is missing, got {there}") from error
        annotation = kind.model_fields[name].annotation
        allowed = getattr(annotation, "__name__", annotation) if isinstance(annotation, type) else annotation
        raise ValueError(f"{place}: field {name!r} is {record[name]!r:.80}, allowed is {allowed}") from error
