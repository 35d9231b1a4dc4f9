"""Judges a reflection detector: what it matched in a sample, and how far it agrees with examples labelled by hand."""

import heapq
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tapo.core.phrases import Detector, PhraseMatch, load_detector
from tapo.evaluation.confusion import Confusion
from tapo.evaluation.folders import HALF_WRITTEN, find_runs
from tapo.evaluation.options import ReflectionsCommand
from tapo.files.json_lines import read_json_lines
from tapo.terminal import harmless, say

LABELLED_EXAMPLES = Path(__file__).parent / "data" / "labelled_reflections.jsonl"
"""Written for this project. Guideline: a response reflects iff it turns back on something that it has itself already
written: doubts it, takes it back, or sets out to go over it once more, whether or not it was wrong. Not a reflection:
a check that belongs to the solution and goes forward, a trial that is the method, another way taken without doubt,
errors and words of others (the problem's, a quoted speaker's)."""

REFLECTION, DIRECT = "reflection", "direct"

CONTEXT = 160
"""Characters shown on either side of a match."""


def print_reflections(options: ReflectionsCommand, console: Console) -> None:
    """`tapo eval reflections`."""
    detector = load_detector(options.detector)
    if options.dump is not None:
        print_sample(_file(options.dump), options, detector, console)
    print_agreement(detector, read_labelled(options.labelled or LABELLED_EXAMPLES), console)


def print_sample(path: Path, options: ReflectionsCommand, detector: Detector, console: Console) -> None:
    """Show matches in a random sample of the responses in a `STEP.jsonl`, or such without any.

    Raises:
        ValueError: the dump cannot be read.
    """
    rng = random.Random(options.seed)
    phrases, responses, half_written = Counter[str](), Counter[bool](), list[Path]()

    def candidates() -> Iterator[tuple[float, int, str, list[PhraseMatch]]]:
        for line, row in read_json_lines(path, on_half_written=half_written.append):
            output = row.get("output")
            if not isinstance(output, str):
                raise ValueError(f"{line}: output = {output!r} cannot work: needs a text")
            found = detector.find(output)
            responses[bool(found)] += 1
            phrases.update({match.phrase for match in found})
            if bool(found) != options.unmatched:
                yield rng.random(), line.number, output, found

    drawn = heapq.nlargest(options.limit, candidates())
    for _, number, output, found in sorted(drawn, key=lambda entry: entry[1]):
        console.rule(f"{path.name}, line {number}")
        console.print(highlighted(harmless(output), found))
    table = Table("phrase", "responses", title=f"{responses[True]} of {responses.total()} responses reflect")
    for phrase, count in phrases.most_common():
        table.add_row(phrase, str(count))
    console.print(table)
    if half_written:
        say(f"Note: {HALF_WRITTEN}: 1", console)


def _file(dump: Path) -> Path:
    """The dump, or of a folder the last step of its first benchmark."""
    if dump.is_file():
        return dump
    steps = next(iter(find_runs([dump])[0].dumps.values()))
    return steps[max(steps)]


def highlighted(output: str, found: list[PhraseMatch]) -> Text:
    """A response around its first and last matches, which are coloured; without matches, its start."""
    first = found[0].start if found else 0
    last = found[-1].end if found else 0
    start, end = max(0, first - CONTEXT), min(len(output), last + CONTEXT)
    text = Text(output)
    for match in found:
        text.stylize("bold yellow", match.start, match.end)
    shown = text[start:end]
    return Text.assemble("... " if start else "", shown, " ..." if end < len(output) else "")


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
    name = {True: REFLECTION, False: DIRECT}
    return Confusion(Counter((name[one.reflection], name[detector.reflects(one.text)]) for one in examples))


def print_agreement(detector: Detector, examples: Sequence[LabelledExample], console: Console) -> None:
    """Agreement with hand-labelled examples, and those on which the two differ."""
    told = agreement(detector, examples)
    table = Table("examples", "precision", "recall", "agreement", "Cohen's kappa")
    table.title = f"{detector.name}, version {detector.version}, against hand-labelled examples"
    figures = (told.precision(REFLECTION), told.recall(REFLECTION), told.accuracy, told.kappa)
    table.add_row(str(told.total), *("undefined" if figure is None else f"{figure:.2f}" for figure in figures))
    console.print(table)
    for kind, label in (("missed", True), ("false alarm", False)):
        for example in examples:
            if example.reflection is label and detector.reflects(example.text) is not label:
                say(f"{kind}: {example.text!r} ({example.why})", console)
