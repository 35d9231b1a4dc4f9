"""The manifest: what was evaluated, on what, and how."""

import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SCHEMA = 1
SAMPLING = ("n", "temperature", "top_p", "top_k", "do_sample", "max_prompt_length", "max_response_length")
_KEYS = ("schema", "model", "benchmarks", "sampling", "verifier", "detector", "seed", "versions", "overrides")


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
