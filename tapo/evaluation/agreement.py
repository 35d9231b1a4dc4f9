"""How far a reflection detector agrees with examples labelled by hand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapo.core.phrases import Detector
from tapo.evaluation.confusion import Confusion
from tapo.files.json_lines import read_json_lines

LABELLED_EXAMPLES = Path(__file__).parent / "data" / "labelled_reflections.jsonl"
"""Written for this project. Guideline: a response reflects iff it turns back on something that it has itself already
written: doubts it, takes it back, or sets out to go over it once more, whether or not it was wrong. Not a reflection:
a check that belongs to the solution and goes forward, a trial that is the method, another way taken without doubt,
errors and words of others (the problem's, a quoted speaker's)."""

REFLECTION, DIRECT = "reflection", "direct"


@dataclass(frozen=True)
class LabelledExample:
    """A response, whether it reflects, and a word on why."""

    text: str
    reflection: bool
    why: str


def read_labelled(path: Path = LABELLED_EXAMPLES) -> list[LabelledExample]:
    """Examples as JSON lines with `text`, a boolean `reflection`, and `why`.

    Raises:
        ValueError: the file cannot be read or is empty, or a line lacks a key or holds the wrong type.
    """
    examples = []
    for line, record in read_json_lines(path):
        if not isinstance(record.get("text"), str) or not isinstance(record.get("reflection"), bool):
            raise ValueError(f"{line}: got {json.dumps(record)[:80]!r}, needs a text `text` and a boolean `reflection`")
        examples.append(LabelledExample(record["text"], record["reflection"], str(record.get("why", ""))))
    if not examples:
        raise ValueError(f"labelled examples {path}: got none, needs at least one line")
    return examples


def agreement(detector: Detector, examples: Sequence[LabelledExample]) -> Confusion:
    """Run the detector over labelled examples; labels and verdicts are `REFLECTION` or `DIRECT`."""
    labels = {True: REFLECTION, False: DIRECT}
    return Confusion.of((labels[example.reflection], labels[detector.reflects(example.text)]) for example in examples)
