"""The folder of a run: `OUT/manifest.json` and `OUT/BENCHMARK/STEP.jsonl` of `tapo eval run`, or any verl run's.

The manifest says what was evaluated, on what, and how.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SCHEMA = 1
SAMPLING = ("n", "temperature", "top_p", "top_k", "do_sample", "max_prompt_length", "max_response_length")
_KEYS = ("schema", "model", "benchmarks", "sampling", "verifier", "detector", "seed", "versions", "overrides")
METRICS = "metrics.jsonl"
HALF_WRITTEN = "half-written last line left out"
"""What is said of a log or a dump that a process still writes, or was killed over."""
PLAIN = "validation"
"""Name of the one benchmark of a folder that does not name any."""


@dataclass(frozen=True)
class RunFolder:
    """One run's dumps."""

    name: str
    path: Path
    dumps: dict[str, dict[int, Path]]
    """{benchmark: {step: file}}, steps ascending."""
    manifest: dict[str, Any] | None


def find_runs(paths: Sequence[Path]) -> list[RunFolder]:
    """The runs of a report, with names that tell them apart.

    Each path is a folder with `STEP.jsonl` files, one that holds such a folder called `validation`, or one with such a
    folder for each benchmark.

    Raises:
        ValueError: a folder is missing, given twice, or holds no dump.
    """
    resolved = [path.expanduser().resolve() for path in paths]
    for path, place in zip(paths, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ValueError(f"DIR = {str(path)!r} cannot work: it is given twice, needs different runs")
    return [_find_run(place, name) for place, name in zip(resolved, distinct_names(resolved), strict=True)]


def _find_run(path: Path, name: str) -> RunFolder:
    if not path.is_dir():
        raise ValueError(f"DIR = {str(path)!r} cannot work: needs a folder with STEP.jsonl or BENCHMARK/STEP.jsonl")
    for folder in (path, path / PLAIN):
        if steps := _steps(folder):
            dumps = {PLAIN: steps}
            break
    else:
        dumps = {folder.name: steps for folder in sorted(path.iterdir()) if (steps := _steps(folder))}
    if not dumps:
        allowed = "STEP.jsonl, validation/STEP.jsonl or BENCHMARK/STEP.jsonl (trainer.validation_data_dir writes them)"
        raise ValueError(f"DIR = {str(path)!r} holds no dump; needs {allowed}")
    manifest = None
    if PLAIN in dumps and (path.parent / MANIFEST).exists():
        dumps, manifest = {path.name: dumps[PLAIN]}, read_manifest(path.parent)
    elif (path / MANIFEST).exists():
        manifest = read_manifest(path)
    if manifest and (own := manifest["model"]["step"]) is not None:
        # verl calls the step of an evaluation 0; a checkpoint's own step stands in the manifest.
        dumps = {benchmark: {step or own: file for step, file in steps.items()} for benchmark, steps in dumps.items()}
    return RunFolder(name, path, dumps, manifest)


def _steps(folder: Path) -> dict[int, Path]:
    files = folder.glob("*.jsonl") if folder.is_dir() else ()
    return dict(sorted((int(file.stem), file) for file in files if file.stem.isdecimal()))


def distinct_names(paths: list[Path]) -> list[str]:
    """As many of each path's last parts as it takes to tell all apart, `validation` itself left out."""
    parts = [path.parent.parts if path.name == PLAIN else path.parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> Path:
    """Write `manifest.json`; every key of a manifest must be there."""
    assert set(manifest) == set(_KEYS)
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check `manifest.json`.

    Raises:
        ValueError: it cannot be read, lacks a key, or has another schema.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        got = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise ValueError(f"{path}: schema = {got!r} cannot work: needs {SCHEMA}")
    missing = [key for key in _KEYS if key not in manifest]
    missing += [f"sampling.{key}" for key in SAMPLING if key not in manifest.get("sampling", {})]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} is missing; needs what `tapo eval run` writes")
    return manifest


def protocol_differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Settings by which two evaluations do not compare, as `key: one against other`."""
    one, two = _protocol(first), _protocol(second)
    keys = [key for key in one | two if key in one.keys() & two.keys() or not key.startswith("data of ")]
    return [f"{key}: {one.get(key)!r} against {two.get(key)!r}" for key in keys if one.get(key) != two.get(key)]


def _protocol(manifest: dict[str, Any]) -> dict[str, Any]:
    settings = {f"sampling.{key}": manifest["sampling"][key] for key in SAMPLING}
    settings |= {key: manifest[key] for key in ("verifier", "seed", "overrides")}
    settings |= manifest["versions"]
    return settings | {f"data of {entry['name']}": entry["sha256"][:12] for entry in manifest["benchmarks"]}
