"""The benchmarks of an evaluation: parquet files in verl's format."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapo.files.fingerprint import fingerprint_of_file
from tapo.options import ConfigError

_COLUMNS = {"data_source", "prompt", "reward_model"}


@dataclass(frozen=True)
class Benchmark:
    """One parquet file."""

    name: str
    """Of its folder and its columns in reports."""
    file: Path
    data_source: str
    problems: int
    sha256: str

    def describe(self) -> dict[str, Any]:
        """What a manifest records."""
        return asdict(self) | {"file": str(self.file)}


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
    import pyarrow.compute
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
    sources = sorted(map(str, pyarrow.compute.unique(column).to_pylist()))
    if len(sources) != 1:
        raise ConfigError("--data", entry, f"needs rows of one data source, so one file a benchmark; got {sources}")
    digest = fingerprint_of_file(file).removeprefix("sha256:")
    return Benchmark(name, file, sources[0], len(column), digest)
