"""What an evaluation takes: a model that the rollout engine can load, and benchmarks in verl's format."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapo.files.fingerprint import fingerprint_of_file
from tapo.files.model_folder import half_written, is_complete_model
from tapo.options import ConfigError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_STEP = re.compile(r"global_step_(\d+)")
_ALLOWED = (
    "a Hugging Face folder (config.json and all its weights), a name on the hub (ORGANISATION/MODEL), or a verl "
    "checkpoint (global_step_N, its actor folder, or the folder of all checkpoints)"
)
_COLUMNS = {"data_source", "prompt", "reward_model"}


@dataclass(frozen=True)
class Checkpoint:
    """A model to evaluate."""

    model: str
    """Hugging Face folder or name; if `merge` is set, where the merged model will lie."""
    step: int | None
    """Training step, where a verl checkpoint says."""
    merge: tuple[str, ...] = ()
    """Arguments of `python -m verl.model_merger` that make `model`; empty if it is there."""


def resolve_checkpoint(given: str, merged: Path) -> Checkpoint:
    """Find the model.

    Args:
        given: what the user named.
        merged: where shards would be merged to.

    Raises:
        ValueError: nothing there that can be loaded or merged.
    """
    path = Path(given).expanduser()
    if not path.exists():
        if _NAME.fullmatch(given):
            return Checkpoint(given, None)
        raise ValueError(f"MODEL = {given!r} does not exist; needs {_ALLOWED}")
    path = path.resolve()
    if is_complete_model(path):
        return Checkpoint(str(path), _step_of(path))
    latest = path / "latest_checkpointed_iteration.txt"
    step_folder = path / f"global_step_{latest.read_text().strip()}" if latest.is_file() else path
    actor = step_folder / "actor" if (step_folder / "actor").is_dir() else step_folder
    step = _step_of(actor)
    if is_complete_model(actor / "huggingface"):
        return Checkpoint(str(actor / "huggingface"), step)
    backend = "fsdp" if (actor / "fsdp_config.json").exists() else None
    backend = "megatron" if (actor / "model" / "huggingface").is_dir() else backend
    if backend is None and (told := half_written(given)):
        raise ConfigError("MODEL", given, told)
    if backend is None:
        raise ValueError(f"MODEL = {given!r} holds neither a complete model nor shards to merge; needs {_ALLOWED}")
    arguments = ("merge", "--backend", backend, "--local_dir", str(actor), "--target_dir", str(merged))
    return Checkpoint(str(merged), step, arguments)


def _step_of(path: Path) -> int | None:
    found = [match for part in path.parts if (match := _STEP.fullmatch(part))]
    return int(found[-1][1]) if found else None


@dataclass(frozen=True)
class Benchmark:
    """One parquet file of problems."""

    name: str
    """Of its folder and its columns in reports."""
    file: Path
    data_source: str
    problems: int
    sha256: str


def read_benchmarks(given: Sequence[str]) -> list[Benchmark]:
    """Check the parquets before anything is started.

    Args:
        given: `FILE.parquet`, named after the file, or `NAME=FILE.parquet`.

    Raises:
        ConfigError: none given, or two have the same name.
        ValueError: a file cannot be read, lacks a column or mixes data sources.
    """
    if not given:
        raise ConfigError("--data", list(given), "needs at least one parquet file")
    benchmarks = [_read_benchmark(entry) for entry in given]
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise ConfigError("--data", names, "needs different names; NAME=FILE.parquet gives one")
    return benchmarks


def _read_benchmark(entry: str) -> Benchmark:
    import pyarrow
    from pyarrow import parquet

    name, _, path = entry.rpartition("=")
    file = Path(path).expanduser().resolve()
    name = name or file.stem
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ConfigError("--data", entry, "needs a name of letters, digits, '-', '_' and '.'")
    try:
        missing = _COLUMNS - set(parquet.read_schema(file).names)
        if missing:
            raise ConfigError("--data", entry, f"needs verl's columns; {', '.join(sorted(missing))} missing")
        column = parquet.read_table(file, columns=["data_source"])["data_source"]
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ValueError(f"--data = {entry!r} cannot be read: {error}") from error
    sources = sorted(map(str, column.unique().to_pylist()))
    if len(sources) != 1:
        raise ConfigError("--data", entry, f"needs rows of one data source, so one file a benchmark; got {sources}")
    return Benchmark(name, file, sources[0], len(column), fingerprint_of_file(file).removeprefix("sha256:"))
