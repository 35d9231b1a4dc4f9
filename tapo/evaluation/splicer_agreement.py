"""How far the splicer agrees with constructions labelled by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tapo.core.leak import find_leak
from tapo.core.reconstruction import ConstructionError, splice

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
    note: str = ""


@dataclass(frozen=True)
class Confusion:
    """How often each label met each verdict: a label, or a reason of rejection that no label stands for."""

    counts: Mapping[tuple[str, str], int]

    @property
    def total(self) -> int:
        """Number of examples."""
        return sum(self.counts.values())

    def support(self, label: str) -> int:
        """Examples of a label."""
        return sum(count for (own, _), count in self.counts.items() if own == label)

    def precision(self, label: str) -> float | None:
        """Share of the label among its verdicts; None without any."""
        found = sum(count for (_, verdict), count in self.counts.items() if verdict == label)
        return self.counts.get((label, label), 0) / found if found else None

    def recall(self, label: str) -> float | None:
        """Share of the label's examples that were told; None without any."""
        support = self.support(label)
        return self.counts.get((label, label), 0) / support if support else None


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
            examples.append(
                LabelledConstruction(
                    id=name,
                    language=rollout["language"],
                    kind=rollout["kind"],
                    held_out=rollout["held_out"],
                    label=answer["label"],
                    wrong=rollout["wrong"],
                    reconstruction=_apply(answer, rollout["wrong"], f"{path}, {name}"),
                    note=answer.get("note", ""),
                )
            )
    return examples


def leak_confusion(held_out: bool, path: Path = LABELLED_LEAKS) -> Confusion:
    """The leak detector against labelled sentences, with the labels `leak` and `clean`.

    Raises:
        ValueError: the file cannot be read.
    """
    sentences = _read(path, dict)["held_out" if held_out else "tuned"]
    return Confusion(
        Counter(
            (label, "leak" if find_leak(sentence) else "clean")
            for label, listed in sentences.items()
            for sentence in listed
        )
    )


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


def table(result: Confusion, labels: Sequence[str]) -> str:
    """Precision and recall of each label, and what its examples were told, as a Markdown table."""
    rows = ["| label | examples | precision | recall | told otherwise |", "| --- | --- | --- | --- | --- |"]
    for label in labels:
        others = {told: count for (own, told), count in sorted(result.counts.items()) if own == label != told}
        otherwise = ", ".join(f"{count} {told}" for told, count in others.items()) or "-"
        rates = (result.precision(label), result.recall(label))
        shown = " | ".join("-" if rate is None else f"{rate:.2f}" for rate in rates)
        rows.append(f"| {label} | {result.support(label)} | {shown} | {otherwise} |")
    return "\n".join(rows)
