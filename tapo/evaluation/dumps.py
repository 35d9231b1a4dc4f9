"""Reads `STEP.jsonl`, a dump of verl's validation, row by row into a table of numbers.

verl writes one line a sample: `input`, `output`, `gts`, `score`, `step`, `uid` and every reward extra field. No text is
held, so a million rows take tens of megabytes.
"""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.core.phrases import Detector
from tapo.evaluation.folders import HALF_WRITTEN
from tapo.files.json_lines import Line, read_json_lines
from tapo.rewards import last_boxed
from tapo.rewards.math_verify_reward import normalise

BATCH = 1000
"""Texts that are tokenised at once."""
UNKNOWN = -1
COLUMNS = {"source": "i4", "problem": "i4", "uid": "i4", "correct": "?", "reflects": "?"}
FLAGS = ("truncated", "unparsable", "needless_reflection", "faithful")
"""Fields of 0 and 1 that a dump may have: LengthRewardManager's, the verifier's, and those of a task that can tell."""
COLUMNS |= dict.fromkeys(FLAGS, "i1") | {"answer": "i4", "length": "i4"}
"""One row a sample. Texts are numbered as they appear; `UNKNOWN` is a flag that is not there, or an answer that casts
no vote."""

_SESSION = re.compile(r"(?P<prompt>.+)_(?P<session>\d+)_(?P<output>\d+)")
"""verl's `uid` of a sample."""
_Output = tuple[Line, dict[str, Any], float | None]
"""A row, where it stands, and what decides about correctness; None if that is missing or not finite."""


@dataclass(frozen=True)
class Dump:
    """What one file holds."""

    path: Path
    sha256: str
    benchmarks: dict[str | None, pd.DataFrame]
    """Samples by `data_source` where rows carry it; else all under None. The columns are `problem` and those behind
    `uid` in `COLUMNS`, without `answer` or one of `FLAGS` where the dump cannot tell."""
    problems: tuple[str, ...]
    """One digest a problem, equal in every run that asked the same prompt with the same ground truth."""
    fields: dict[str, str]
    """Which field each figure was read from."""
    notes: tuple[str, ...]
    """Whatever was left out or is uncertain, with its count."""


def read_dump(
    path: Path, detector: Detector, *, reward_threshold: float = REWARD_THRESHOLD, tokenizer: str | None = None
) -> Dump:
    """Read a dump in one pass; memory does not grow with the length of texts.

    A sample is correct iff its `acc`, or `score` where the dump has no `acc`, exceeds `reward_threshold`. A last line
    that is half-written and rows whose number is missing or not finite are left out and noted.

    Args:
        tokenizer: counts tokens where the dump has no `response_tokens`; without one, characters are counted.

    Raises:
        ValueError: the file cannot be read or has no usable row, a line before the last is no JSON object, or a row
            lacks a field.
    """
    reader = _Reader(path, detector, reward_threshold, tokenizer)
    table = pd.DataFrame(np.fromiter(reader.samples(), np.dtype(list(COLUMNS.items()))))
    if table.empty:
        raise ValueError(f"{path}: got {reader.rows} rows, none of them usable; needs at least one")
    if repeated := int((table.groupby("problem")["uid"].nunique() > 1).sum()):
        reader.counts["problems asked more than once, their samples taken together"] = repeated
    benchmarks = {
        source: _known(table[table["source"] == reader.sources[source]], reader.fields["answer"] == "pred")
        for source in sorted(reader.sources, key=lambda source: source or "")
    }
    problems = tuple(digest for _, digest in reader.problems)
    notes = tuple(f"{what}: {number}" for what, number in reader.counts.items())
    return Dump(path, reader.digest.hexdigest(), benchmarks, problems, reader.fields, notes)


def _known(samples: pd.DataFrame, dumped_answers: bool) -> pd.DataFrame:
    """The samples without the columns that the dump cannot tell.

    Args:
        dumped_answers: answers were dumped, so that none at all means none was given; else it means that this dump's
            answers do not stand in boxes, and the votes are unknown.
    """
    dropped = ["source", "uid", *(name for name in FLAGS if (samples[name] == UNKNOWN).any())]
    if not dumped_answers and (samples["answer"] == UNKNOWN).all():
        dropped.append("answer")
    return samples.drop(columns=dropped)


class _Reader:
    """The state of one pass over a file."""

    def __init__(self, path: Path, detector: Detector, reward_threshold: float, tokenizer: str | None):
        self.path, self.detector, self.reward_threshold, self.tokenizer = path, detector, reward_threshold, tokenizer
        self.digest = hashlib.sha256()
        self.counts: Counter[str] = Counter()
        self.rows = 0
        self.fields: dict[str, str] = {}
        self.sources: dict[str | None, int] = defaultdict(count().__next__)
        self.problems: dict[tuple[str | None, str], int] = defaultdict(count().__next__)
        self.uids: dict[str, int] = defaultdict(count().__next__)
        self.answers: dict[str, int] = defaultdict(count().__next__)

    def samples(self) -> Iterator[tuple[int, ...]]:
        """The entries in `COLUMNS` of each sample."""
        samples = self._last_outputs()
        while batch := list(islice(samples, BATCH)):
            lengths = [length for _, length in batch]
            if self.tokenizer is not None:
                encoded = load_tokenizer(self.tokenizer)(lengths, add_special_tokens=False)["input_ids"]
                lengths = list(map(len, encoded))
            yield from ((*numbers, length) for (numbers, _), length in zip(batch, lengths, strict=True))

    def _last_outputs(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        """(numbers, length) of each session's last output; the text itself where its tokens are to be counted.

        verl dumps every output of a session, in order and with the session's score; the last one is its answer. The
        problem is the first one's, since the `input` of a later turn would not tell it.
        """
        for (source, prompt, _), outputs in groupby(self._outputs(), key=self._session):
            *earlier, last = outputs
            if usable := sum(number is not None for _, _, number in earlier):
                self.counts["earlier outputs of multi-output sessions left out"] += usable
            line, row, number = last
            if number is None:
                continue
            _, asked, _ = earlier[0] if earlier else last
            numbers = (
                self.sources[source],
                self.problems[source, _digest(asked["input"], str(asked.get("gts")))],
                self.uids[prompt],
                number > self.reward_threshold,
                self.detector.reflects(row["output"]),
                *(_flag(row.get(name)) for name in FLAGS),
                self._vote(row),
            )
            yield numbers, self._length(line, row)

    def _outputs(self) -> Iterator[_Output]:
        lines = read_json_lines(
            self.path, on_line=self.digest.update, on_half_written=lambda _: self.counts.update([HALF_WRITTEN])
        )
        for line, row in lines:
            self.fields = self.fields or self._fields_of(row)
            self.rows += 1
            missing = [name for name in ("input", "output", self.fields["correct"]) if name not in row]
            if missing:
                raise ValueError(f"{line}: field {', '.join(missing)} is missing; got {', '.join(row)}")
            for name in ("input", "output"):
                if not isinstance(row[name], str):
                    raise ValueError(f"{line}: {name} = {row[name]!r} cannot work: needs a text")
            yield line, row, self._number(row)

    def _fields_of(self, row: dict[str, Any]) -> dict[str, str]:
        """Decide by the first row which field each figure is read from."""
        fields = {"correct": "acc" if "acc" in row else "score"}
        fields["answer"] = "pred" if "pred" in row else "last \\boxed{} of output"
        fields |= {name: name for name in (*FLAGS, "data_source") if name in row}
        dumped = "response_tokens" in row
        if dumped:
            self.tokenizer = None
        fields["length"] = "response_tokens" if dumped else "output"
        fields["length unit"] = "tokens" if dumped or self.tokenizer is not None else "characters"
        return fields

    def _number(self, row: dict[str, Any]) -> float | None:
        key = self.fields["correct"]
        number = row[key]
        if not isinstance(number, int | float) or not math.isfinite(number):
            self.counts[f"rows without a finite {key} left out"] += 1
            return None
        if number not in (0, 1):
            self.counts[f"rows with {key} other than 0 and 1, correct if > {self.reward_threshold:g}"] += 1
        return number

    def _session(self, output: _Output) -> tuple[str | None, str, str | int]:
        """(data source, uid of the prompt, session); a row without uids is a session by itself."""
        line, row, _ = output
        source = row.get("data_source") if "data_source" in self.fields else None
        uid = _SESSION.fullmatch(row["uid"]) if isinstance(row.get("uid"), str) else None
        prompt, session = (uid["prompt"], uid["session"]) if uid else ("", line.number)
        return None if source is None else str(source), prompt, session

    def _vote(self, row: dict[str, Any]) -> int:
        if row.get("unparsable") == 1:
            return UNKNOWN
        if self.fields["answer"] == "pred":
            answer = row.get("pred")
        else:
            boxed = last_boxed(row["output"])
            answer = None if boxed is None else normalise(boxed)
        return UNKNOWN if answer is None or answer == "" else self.answers[str(answer)]

    def _length(self, line: Line, row: dict[str, Any]) -> int | str:
        if self.fields["length"] == "response_tokens":
            dumped = row.get("response_tokens")
            if not isinstance(dumped, int):
                raise ValueError(f"{line}: response_tokens = {dumped!r} cannot work: needs an integer")
            return dumped
        return len(row["output"]) if self.tokenizer is None else row["output"]


@lru_cache(maxsize=1)
def load_tokenizer(name: str) -> Any:
    """By its folder or its name on the hub.

    Raises:
        ValueError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"--tokenizer = {name!r} cannot be loaded: {error}") from error


@lru_cache(maxsize=1)  # the samples of a problem mostly stand together
def _digest(prompt: str, ground_truth: str) -> str:
    return hashlib.blake2b(f"{prompt}\0{ground_truth}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _flag(value: Any) -> int:
    return int(value) if value in (0, 1) else UNKNOWN
