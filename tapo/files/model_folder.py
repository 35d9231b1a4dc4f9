"""Whether a Hugging Face folder holds a whole model: one that is still being written, or was killed over, does not."""

import json
import struct
from pathlib import Path

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FORM_FILE = "tapo_construction_form.json"
"""Beside a cold-started model: the options `copy` and `correction` of the form that it was taught."""
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def missing_of_model(folder: Path) -> list[str]:
    """What a folder lacks of a model, file by file; [] if it is complete."""
    if not (folder / "config.json").is_file():
        return ["config.json"]
    if weights := [folder / name for name in WEIGHTS if (folder / name).is_file()]:
        return [] if any(map(_is_whole, weights)) else [_part_of(weights[0])]
    for name in INDICES:
        if (folder / name).is_file():
            return _missing_shards(folder / name)
    return [f"weights ({', '.join(WEIGHTS)}, or several with an index)"]


def is_complete_model(folder: Path) -> bool:
    """Whether a folder holds a config and every weight file that it names, whole."""
    return not missing_of_model(folder)


def half_written(given: str) -> str | None:
    """A sentence on a folder that holds a part of a model; None of a complete one, and of what is no model's folder,
    such as a name on the hub."""
    folder = Path(given).expanduser()
    missing = missing_of_model(folder) if (folder / "config.json").is_file() else []
    if not missing:
        return None
    return (
        f"a half-written model lies there: it lacks {', '.join(missing)}. What writes it is still at work, or was "
        "killed; run that to its end"
    )


def taught_form(given: str) -> dict[str, str] | None:
    """What `FORM_FILE` in a folder says; None where there is none."""
    file = Path(given).expanduser() / FORM_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _missing_shards(index: Path) -> list[str]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError):
        return [_part_of(index)]
    paths = [index.parent / shard for shard in shards]
    return [path.name if not path.is_file() else _part_of(path) for path in paths if not _is_whole(path)]


def _part_of(path: Path) -> str:
    return f"{path.name} (only a part of it is there)"


def _is_whole(path: Path) -> bool:
    """Whether a weight file is as long as it says; of a format other than safetensors, whether it is there."""
    if not path.is_file():
        return False
    if path.suffix != ".safetensors":
        return True
    with path.open("rb") as file:
        begin = file.read(8)
        header_bytes = struct.unpack("<Q", begin)[0] if len(begin) == 8 else -1
        if not 0 <= header_bytes <= path.stat().st_size - 8:
            return False
        try:
            header = json.loads(file.read(header_bytes))
        except ValueError:
            return False
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return path.stat().st_size >= 8 + header_bytes + max(ends, default=0)
