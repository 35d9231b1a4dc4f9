"""What something was made from, small enough to compare: files, models, and mappings of such facts."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MIB = 1 << 20
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
TEXT_SUFFIXES = (".json", ".jinja", ".txt", ".model")
"""Configuration, generation defaults, tokenizer and chat template of a Hugging Face folder."""
WEIGHT_SAMPLES = 8
"""Blocks of 1 MiB read of each weight file, evenly spread, the first and the last among them."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def fingerprint_of_file(path: str | Path) -> str:
    """`sha256:...` over the content; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(MIB):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def fingerprint_of_model(path_or_name: str | Path) -> str:
    """`sha256:...` of a Hugging Face folder, or the name itself of a model on the hub.

    Covers the whole of configuration and tokenizer files, and of each weight file its name, its size and
    `WEIGHT_SAMPLES` blocks: a model of any size takes less than a second.

    Raises:
        ValueError: neither a folder with a config.json nor a name that the hub could know.
    """
    folder = Path(path_or_name).expanduser()
    if not folder.exists() and _HUB_NAME.fullmatch(str(path_or_name)):
        return str(path_or_name)
    if not (folder / "config.json").is_file():
        raise ValueError(f"model = {str(path_or_name)!r} cannot work: needs a folder with a config.json or a hub name")
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in WEIGHT_SUFFIXES or path.suffix in TEXT_SUFFIXES:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            for block in _blocks(path):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _blocks(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    if path.suffix in TEXT_SUFFIXES or size <= WEIGHT_SAMPLES * MIB:
        yield path.read_bytes()
        return
    with path.open("rb") as file:
        for number in range(WEIGHT_SAMPLES):
            file.seek(number * (size - MIB) // (WEIGHT_SAMPLES - 1))
            yield file.read(MIB)


def as_json(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as it comes back from a JSON file; ValueError if something in it has no place there."""
    try:
        return json.loads(json.dumps(fingerprint))
    except (TypeError, ValueError) as error:
        raise ValueError(f"fingerprint = {fingerprint!r} cannot work: needs what JSON can hold ({error})") from error


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """One phrase for each key, dotted where nested, whose values differ; [] if none does."""
    phrases = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            phrases += differences(old, new, f"{path}{key}.")
        elif key not in before or key not in now or old != new:
            then = repr(old) if key in before else "nothing"
            phrases.append(f"{path}{key} = {then} then, {repr(new) if key in now else 'nothing'} now")
    return phrases
