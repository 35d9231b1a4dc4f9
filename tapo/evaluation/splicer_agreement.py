"""How far the splicer agrees with constructions labelled by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from tapo.core.leak import find_leak
from tapo.core.reconstruction import ConstructionError, splice
from tapo.evaluation.confusion import Confusion
from tapo.evaluation.options import ConstructionsCommand
from tapo.terminal import say

LABELLED_CONSTRUCTIONS = Path(__file__).parent / "data" / "labelled_constructions.yaml"
LABELLED_LEAKS = Path(__file__).parent / "data" / "labelled_leaks.yaml"

LABELS = ("good", "edited_copy", "started_over", "no_reflection", "leak")
"""What a construction can be. The file's head states the guideline."""

VERDICTS = {"not_verbatim": "edited_copy", "prefix_too_short": "started_over"}
"""Reasons of rejection that have another name among the labels."""


@dataclass(frozen=True)
class LabelledConstruction:
    """A wrong rollout, what an actor made of it, and what that is."""

    id: str
    language: str
    kind: str
    held_out: bool
    label: str
    wrong: str
    reconstruction: str


class Characters:
    """A tokenizer of one token a character: what is measured is the splicer's judgement of text."""

    eos_token_id = 0
    all_special_ids = (0,)

    def encode(self, text: str, **_: Any) -> list[int]:
        """Code points."""
        return [ord(character) for character in text]

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """The inverse, without EOS."""
        return "".join(chr(token) for token in ids if token)


def print_agreement(options: ConstructionsCommand, console: Console) -> None:
    """`tapo eval constructions`; leaking sentences too, where no file of one's own is given."""
    examples = read_constructions(options.labelled or LABELLED_CONSTRUCTIONS)
    for held_out, title in ((False, "tuned on"), (True, "held out")):
        part = [example for example in examples if example.held_out is held_out]
        if part:
            say(f"constructions, {title}\n\n{confusion(part).to_markdown(LABELS)}\n", console)
        if options.labelled is None:
            say(f"sentences, {title}\n\n{leak_confusion(held_out).to_markdown(('leak', 'clean'))}\n", console)
    if options.disagreements:
        for example in examples:
            if (told := verdict(example)) != example.label:
                say(f"{example.id}: {example.label}, told {told}\n{example.reconstruction}\n", console)


def verdict(example: LabelledConstruction) -> str:
    """What the splicer makes of an example with its default options: `good`, or why it is none."""
    tokenizer = Characters()
    try:
        spliced = splice(tokenizer.encode(example.wrong), example.reconstruction, tokenizer, max_length=1_000_000)
    except ConstructionError as error:
        return VERDICTS.get(error.reason, error.reason)
    return "good" if spliced.has_reflection else "no_reflection"


def confusion(examples: Sequence[LabelledConstruction]) -> Confusion:
    """Splice every example."""
    return Confusion(Counter((example.label, verdict(example)) for example in examples))


def read_constructions(path: Path = LABELLED_CONSTRUCTIONS) -> list[LabelledConstruction]:
    """The labelled constructions of a file in the form of `LABELLED_CONSTRUCTIONS`, whose head explains it.

    Raises:
        ValueError: the file cannot be read, or an answer does not apply to its rollout.
    """
    examples = []
    for rollout in _read(path, list):
        for number, answer in enumerate(rollout["answers"]):
            name = f"{rollout['id']}-{number}"
            if answer["label"] not in LABELS:
                raise ValueError(f"{path}, {name}: label = {answer['label']!r}, allowed are {', '.join(LABELS)}")
            reconstruction = _apply(answer, rollout["wrong"], f"{path}, {name}")
            own = {key: rollout[key] for key in ("language", "kind", "held_out", "wrong")}
            examples.append(LabelledConstruction(name, label=answer["label"], reconstruction=reconstruction, **own))
    return examples


def leak_confusion(held_out: bool, path: Path = LABELLED_LEAKS) -> Confusion:
    """The leak detector against labelled sentences, with the labels `leak` and `clean`.

    Raises:
        ValueError: the file cannot be read.
    """
    sentences = _read(path, dict)["held_out" if held_out else "tuned"]
    told = ((label, find_leak(sentence)) for label, listed in sentences.items() for sentence in listed)
    return Confusion(Counter((label, "leak" if found else "clean") for label, found in told))


def _read(path: Path, kind: type) -> Any:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"labelled examples {path} cannot be read: {error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"labelled examples {path}: got a {type(content).__name__}, needs a {kind.__name__}")
    return content


def _apply(answer: Mapping[str, Any], wrong: str, name: str) -> str:
    text = answer.get("text", wrong)
    for old, new in answer.get("replace", []):
        if old not in text:
            raise ValueError(f"{name}: replace = {old!r} does not stand in the rollout")
        text = text.replace(old, new, 1)
    if after := answer.get("after"):
        if after not in text:
            raise ValueError(f"{name}: after = {after!r} does not stand in the rollout")
        text = text[: text.index(after) + len(after)]
    return text + answer.get("then", "")
