"""The evaluation protocol: what is asked, how it is sampled and scored, and the verl overrides that say so."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapo.files.fingerprint import sha256_of_file

VERIFIER_KEY = "reward.custom_reward_function"
MANAGER_KEY = "reward.reward_manager"


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled. The paper names neither; these defaults are ours (docs/evaluation.md)."""

    n: int = 16
    """Samples a problem."""
    temperature: float = 1.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    top_k: int = -1
    """-1 is off."""
    max_prompt_length: int = 2048
    """In tokens. verl cuts longer prompts on the left."""
    max_response_length: int = 8192
    """In tokens."""

    def __post_init__(self) -> None:
        for name, option, least in (
            ("n", "--samples", 1),
            ("max_prompt_length", "--max-prompt-length", 1),
            ("max_response_length", "--max-response-length", 1),
        ):
            _require(getattr(self, name) >= least, option, getattr(self, name), f"an integer >= {least}")
        _require(0 <= self.temperature < float("inf"), "--temperature", self.temperature, "a number >= 0")
        _require(0 < self.top_p <= 1, "--top-p", self.top_p, "a number in (0, 1]")
        _require(self.top_k == -1 or self.top_k >= 1, "--top-k", self.top_k, "-1 (off) or an integer >= 1")
        greedy = self.temperature == 0
        _require(not greedy or self.n == 1, "--samples", self.n, "1 at --temperature 0, where all samples are equal")

    @property
    def do_sample(self) -> bool:
        """False for greedy decoding."""
        return self.temperature > 0

    def describe(self) -> dict[str, Any]:
        """What a manifest records."""
        return asdict(self) | {"do_sample": self.do_sample}


@dataclass(frozen=True)
class Benchmark:
    """One parquet file in verl's format."""

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
        ValueError: none given; a file cannot be read, lacks a column, is empty or mixes data sources; or two have the
            same name.
    """
    _require(given, "--data", list(given), "at least one parquet file")
    benchmarks = [_read_benchmark(entry) for entry in given]
    names = [benchmark.name for benchmark in benchmarks]
    _require(len(set(names)) == len(names), "--data", names, "different names; NAME=FILE.parquet gives one")
    return benchmarks


def _read_benchmark(entry: str) -> Benchmark:
    import pyarrow
    import pyarrow.compute
    from pyarrow import parquet

    name, _, path = entry.rpartition("=")
    file = Path(path).expanduser().resolve()
    name = name or file.stem
    plain = name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    _require(plain, "--data", entry, "a name of letters, digits, '-', '_' and '.'")
    try:
        columns = parquet.read_schema(file).names
        missing = {"data_source", "prompt", "reward_model"} - set(columns)
        _require(not missing, "--data", entry, f"verl's columns; {', '.join(sorted(missing))} missing")
        table = parquet.read_table(file, columns=["data_source"])
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ValueError(f"--data = {entry!r} cannot be read: {error}") from error
    sources = sorted(map(str, pyarrow.compute.unique(table["data_source"]).to_pylist()))
    _require(len(sources) == 1, "--data", entry, f"rows of one data source, so one file a benchmark; got {sources}")
    return Benchmark(name, file, sources[0], table.num_rows, sha256_of_file(file))


def sampling_overrides(sampling: Sampling) -> dict[str, Any]:
    """verl's names for the sampling settings."""
    validation = "actor_rollout_ref.rollout.val_kwargs"
    return {
        f"{validation}.n": sampling.n,
        f"{validation}.temperature": sampling.temperature,
        f"{validation}.top_p": sampling.top_p,
        f"{validation}.top_k": sampling.top_k,
        f"{validation}.do_sample": sampling.do_sample,
        "data.max_prompt_length": sampling.max_prompt_length,
        "data.max_response_length": sampling.max_response_length,
    }


def scoring_overrides(extra: Sequence[str]) -> dict[str, str]:
    """The verifier and the reward manager that measures lengths, each unless the user sets another."""
    chosen: dict[str, str] = {}
    if not any(key_of(entry).startswith(VERIFIER_KEY) for entry in extra):
        chosen |= {f"{VERIFIER_KEY}.path": "pkg://tapo.rewards", f"{VERIFIER_KEY}.name": "compute_score"}
    if not any(key_of(entry).startswith(MANAGER_KEY) for entry in extra):
        chosen |= {
            f"{MANAGER_KEY}.source": "importlib",
            f"{MANAGER_KEY}.name": "LengthRewardManager",
            f"{MANAGER_KEY}.module.path": "pkg://tapo.evaluation.reward_manager",
        }
    return chosen


def refuse_conflicts(extra: Sequence[str], ours: Iterable[str]) -> None:
    """An override of a key that the protocol sets would make the manifest wrong.

    Raises:
        ValueError: names the first such override.
    """
    keys = set(ours)
    for entry in extra:
        allowed = "overrides of other keys; this one is set by the options of `tapo eval run`"
        _require(key_of(entry) not in keys, "override", entry, allowed)


def key_of(override: str) -> str:
    """The key of a Hydra override: `++a.b=1` -> `a.b`."""
    return override.partition("=")[0].lstrip("+~")


def _require(condition: Any, key: str, got: Any, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key} = {got!r} cannot work: needs {allowed}")
