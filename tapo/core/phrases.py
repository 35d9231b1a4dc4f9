"""A detector made of phrases: a named, versioned list, and what it finds in a text."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

REFLECTIONS = Path(__file__).parent / "data" / "reflections.yaml"
"""The list behind DSR and ERR."""

PLACES = ("opening", "anywhere", "patterns")
"""Where a phrase counts: only where a sentence or clause opens, or anywhere; `patterns` are regular expressions."""

# Start of the text or a line, behind punctuation, or behind a word that leads into a reflection.
_OPENS = r"(?:\A|\n|[^\w\s]|\b(?:but|oh|no|so|and|hmm|well|okay|ok)\b)\s*"


@dataclass(frozen=True)
class PhraseMatch:
    """One phrase found: `text[start:end]`."""

    start: int
    end: int
    phrase: str


@dataclass(frozen=True)
class Detector:
    """A named, versioned list of phrases; a response reflects iff one of them occurs in it.

    Matching ignores case; a blank matches any run of white space, an apostrophe also its curly form, and a phrase never
    starts or ends inside a word, where its script sets words apart.
    """

    name: str
    version: str
    sha256: str
    phrases: tuple[tuple[str, str], ...]
    """(place, phrase)."""

    def reflects(self, text: str) -> bool:
        """Whether any phrase occurs."""
        return any(pattern.search(text) for _, pattern in self._candidates(text))

    def find(self, text: str) -> list[PhraseMatch]:
        """Every occurrence in order of its start; of overlapping ones the longest of those that start first."""
        found = []
        for phrase, pattern in self._candidates(text):
            found += [PhraseMatch(*match.span("hit"), phrase) for match in pattern.finditer(text)]
        kept: list[PhraseMatch] = []
        for match in sorted(found, key=lambda match: (match.start, -match.end)):
            if not kept or match.start >= kept[-1].end:
                kept.append(match)
        return kept

    def _candidates(self, text: str) -> list[tuple[str, re.Pattern[str]]]:
        # A plain substring test costs a hundredth of the pattern and rules nearly all phrases out.
        flat = " ".join(text.lower().replace("\u2019", "'").split())
        return [(phrase, pattern) for place, phrase, pattern in self._compiled if place == "patterns" or phrase in flat]

    @cached_property
    def _compiled(self) -> list[tuple[str, str, re.Pattern[str]]]:
        return [(place, phrase, re.compile(_pattern(place, phrase), re.IGNORECASE)) for place, phrase in self.phrases]

    def describe(self) -> dict[str, str]:
        """What a manifest records."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


def load_detector(path: str | Path | None = None) -> Detector:
    """Read a phrase list; without a path, the one behind DSR and ERR.

    The file is YAML: `name`, `version`, and `phrases` with a list under one or more of `opening`, `anywhere` and
    `patterns`.

    Raises:
        ValueError: the file cannot be read, or a key is missing, unknown or of the wrong type.
    """
    path = Path(path or REFLECTIONS)
    try:
        content = path.read_bytes()
        options = yaml.safe_load(content)
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"detector {path} cannot be read: {error}") from error
    _require(isinstance(options, dict), path, "the file", options, "a mapping of name, version and phrases")
    unknown = options.keys() - {"name", "version", "phrases"}
    _require(not unknown, path, "keys", sorted(map(str, unknown)), "only name, version and phrases")
    for key in ("name", "version"):
        _require(isinstance(options.get(key), str | int | float), path, key, options.get(key), "a text or a number")
    phrases = _read_phrases(options.get("phrases"), path)
    digest = hashlib.sha256(content).hexdigest()
    return Detector(str(options["name"]), str(options["version"]), digest, phrases)


def _read_phrases(places: Any, path: Path) -> tuple[tuple[str, str], ...]:
    well_placed = isinstance(places, dict) and places and places.keys() <= set(PLACES)
    _require(well_placed, path, "phrases", places, f"lists under {' or '.join(PLACES)}")
    phrases: list[tuple[str, str]] = []
    for place, listed in places.items():
        texts = isinstance(listed, list) and listed and all(isinstance(p, str) and p.strip() for p in listed)
        _require(texts, path, f"phrases.{place}", listed, "a list of phrases, none of them empty")
        phrases += [(place, phrase if place == "patterns" else " ".join(phrase.lower().split())) for phrase in listed]
    for place, phrase in phrases:
        try:
            re.compile(_pattern(place, phrase))
        except re.error as error:
            _require(False, path, f"phrases.{place}", phrase, f"a regular expression ({error})")
    return tuple(phrases)


def _require(condition: Any, path: Path, key: str, got: Any, allowed: str) -> None:
    if not condition:
        raise ValueError(f"detector {path}: {key} = {got!r} cannot work: needs {allowed}")


def _pattern(place: str, phrase: str) -> str:
    if place == "patterns":
        return f"(?P<hit>{phrase})"
    words = re.escape(phrase).replace(r"\ ", r"\s+").replace("'", "['\u2019]")
    before = r"(?<!\w)" if _is_spaced(phrase[0]) else ""
    after = r"(?!\w)" if _is_spaced(phrase[-1]) else ""
    return f"{_OPENS if place == 'opening' else ''}(?P<hit>{before}{words}{after})"


def _is_spaced(character: str) -> bool:
    """Whether the character is of a word, in a script that sets words apart by blanks (and adds no particles)."""
    return character.isalnum() and not ("\u0e00" <= character <= "\u0eff" or "\u2e80" <= character <= "\ud7ff")
