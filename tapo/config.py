"""`algorithm.tapo`: every option, its default and where it comes from."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tapo.core.prompts import CONSTRUCTION_PROMPT, FULL_RECONSTRUCTION_PROMPT, check_template
from tapo.core.reconstruction import MIN_PREFIX_SHARE
from tapo.core.selection import paper_thresholds

CONTRASTS = ("source", "failed", "none")
RECONSTRUCTIONS = ("micro_reflective", "full")
TRUNCATED = ("last", "never")


class ConfigError(ValueError):
    """A setting that cannot work: names the key, the value and what is allowed."""

    def __init__(self, key: str, got: Any, allowed: str):
        super().__init__(f"{key} = {got!r} cannot work: {allowed}")
        self.key = key


@dataclass(frozen=True)
class OtsConfig:
    """OOD token suppression (paper, eq. 7)."""

    enable: bool = True
    """False trains constructed rows unweighted (ablation "w/o OTS")."""
    low: float = 0.01
    """Lower bound of a token's weight (paper: 0.01)."""
    high: float = 10.0
    """Upper bound of a token's weight (paper: 10.0)."""


@dataclass(frozen=True)
class ConstructionConfig:
    """How the actor is asked for a construction. The paper does not say these."""

    max_tokens: int | None = None
    """Most tokens of the actor's answer; null: one response and half a response for the analysis."""
    temperature: float = 1.0
    """Sampling temperature of the answer; top_p and top_k are the rollouts'."""
    timeout_s: float = 600.0
    """Seconds after which one construction is given up. It counts waiting in the engine's queue and, in the
    asynchronous modes, training phases in which the engine stands still: there it should be several steps long."""
    min_prefix_tokens: int = 1
    """Least number of tokens kept from the wrong rollout; 0 allows answers that start over."""
    min_prefix_share: float = MIN_PREFIX_SHARE
    """Least share of the wrong rollout's text that is kept, 0 to 1. An error may come early in a long attempt: no share
    is asked for where a reflection opens the new text. Without one, little kept is a solution that starts over."""
    require_reflection: bool = False
    """True drops constructions in which no reflection is recognised at the splice point. By default they are trained
    and counted in tapo/construct/without_reflection: recognition knows phrases of some thirty languages, and would
    drop about one good construction in fifteen, all of them in a language it does not know (docs/construction.md)."""
    prompt_file: str | None = None
    """UTF-8 file that replaces the construction prompt; holds {query}, {wrong} and {correct} once each."""
    prompt: str | None = None
    """The same as text. A run reads its prompt_file once, where it starts, and hands it to its workers as this."""


@dataclass(frozen=True)
class TapoConfig:
    """The method's options. Defaults are the paper's where it gives one."""

    enable: bool = True
    """False constructs nothing: the run is what it is without TAPO."""
    n_pos: int | None = None
    """Least number of correct rollouts of an eligible group; null: a quarter of it, as the paper's 2 of 8."""
    n_neg: int | None = None
    """Least number of wrong rollouts of an eligible group; null: half of it, as the paper's 4 of 8."""
    m_max: int = 4
    """Most constructions of a group (paper: 4)."""
    lambda_ref: float = 1.0
    """Weight of the constructed rows' loss (paper, eq. 6: 1.0); 0 constructs for inspection and trains as GRPO does."""
    contrast: str = "source"
    """What G_ref is compared with (the paper does not say). `source`: the rewards of the wrong rollouts built upon
    enter its mean and std; `failed`: the constructed rows alone, failed ones included; `none`: failed ones are
    dropped, and a group whose rewards are then all equal has no advantage."""
    reconstruction: str = "micro_reflective"
    """`full` drops the prefix and trains a whole corrected solution (ablation)."""
    correct_key: str | None = None
    """What says that a rollout is correct; null: its reward. Where the reward holds more than correctness (length
    penalties, format bonuses), the key of the reward's extra info that holds it: `acc`, say."""
    reward_threshold: float = 0.5
    """A rollout is correct iff its reward, or its value under `correct_key`, is greater."""
    truncated: str = "last"
    """Rollouts cut off at `rollout.response_length` are no correct siblings. As the wrong one they are taken `last`,
    where those that ended by themselves do not suffice, or `never` (the paper does not say)."""
    seed: int = 0
    """With step and query the source of all random choices; a rerun picks the same."""
    dump_dir: str | None = None
    """Folder for one JSON line per attempted construction and per trained row; null writes none."""
    log_trajectories_every: int = 0
    """Every so many steps a table of constructed trajectories goes to W&B or TensorBoard, where the run logs to them;
    0 never."""
    log_trajectories: int = 8
    """Trajectories of such a table."""
    ots: OtsConfig = field(default_factory=OtsConfig)
    construction: ConstructionConfig = field(default_factory=ConstructionConfig)

    def __post_init__(self) -> None:
        _check_types(self, "algorithm.tapo")
        integers = {"n_pos": 1, "n_neg": 1, "m_max": 1, "log_trajectories_every": 0, "log_trajectories": 1}
        for key, least in integers.items():
            got = getattr(self, key)
            _require(got is None or got >= least, key, got, f"needs an integer >= {least}")
        _require(self.lambda_ref >= 0, "lambda_ref", self.lambda_ref, "needs a number >= 0")
        _require(self.contrast in CONTRASTS, "contrast", self.contrast, f"allowed are {', '.join(CONTRASTS)}")
        allowed = f"allowed are {', '.join(RECONSTRUCTIONS)}"
        _require(self.reconstruction in RECONSTRUCTIONS, "reconstruction", self.reconstruction, allowed)
        _require(self.truncated in TRUNCATED, "truncated", self.truncated, f"allowed are {', '.join(TRUNCATED)}")
        _require(self.ots.low >= 0, "ots.low", self.ots.low, "needs a weight bound >= 0")
        _require(self.ots.high >= self.ots.low, "ots.high", self.ots.high, f"needs a bound >= ots.low ({self.ots.low})")
        construction = self.construction
        tokens = construction.max_tokens
        _require(tokens is None or tokens >= 1, "construction.max_tokens", tokens, "needs null or an integer >= 1")
        _require(
            construction.temperature >= 0, "construction.temperature", construction.temperature, "needs a number >= 0"
        )
        _require(construction.timeout_s > 0, "construction.timeout_s", construction.timeout_s, "needs seconds > 0")
        prefix = construction.min_prefix_tokens
        _require(prefix >= 0, "construction.min_prefix_tokens", prefix, "needs an integer >= 0")
        share = construction.min_prefix_share
        _require(0 <= share <= 1, "construction.min_prefix_share", share, "needs a share between 0 and 1")
        self.template()

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any] | None) -> "TapoConfig":
        """Read `algorithm.tapo` as plain containers (`OmegaConf.to_container(..., resolve=True)`).

        Raises:
            ConfigError: an unknown key, a wrong type or a value out of range.
        """
        return _build(cls, options or {}, "algorithm.tapo")

    def thresholds(self, group_size: int) -> tuple[int, int]:
        """(n_pos, n_neg) of a group of `group_size` rollouts: as configured, else the paper's shares of it."""
        n_pos, n_neg = paper_thresholds(group_size)
        return self.n_pos or n_pos, self.n_neg or n_neg

    @property
    def keep_prefix(self) -> bool:
        """Whether a constructed trajectory begins with the wrong rollout's own tokens."""
        return self.reconstruction == "micro_reflective"

    def template(self) -> str:
        """The construction prompt in force.

        Raises:
            ConfigError: `construction.prompt_file` cannot be read or lacks a placeholder.
        """
        path, text = self.construction.prompt_file, self.construction.prompt
        if path is None and text is None:
            return CONSTRUCTION_PROMPT if self.keep_prefix else FULL_RECONSTRUCTION_PROMPT
        name, got = ("prompt", text) if path is None else ("prompt_file", path)
        try:
            return check_template(Path(path).expanduser().read_text(encoding="utf-8") if path else text or "")
        except (OSError, ValueError) as error:
            raise ConfigError(f"algorithm.tapo.construction.{name}", got, str(error)) from error


def read_tapo_config(config: DictConfig) -> TapoConfig:
    """The run's `algorithm.tapo`.

    Raises:
        ConfigError: the node is missing, or an option is unknown or out of range.
    """
    node = OmegaConf.select(config, "algorithm.tapo")
    if node is None:
        raise ConfigError("algorithm.tapo", None, "append +tapo=default to the launch command")
    return TapoConfig.from_mapping(OmegaConf.to_container(node, resolve=True))


def _require(condition: bool, key: str, got: Any, allowed: str) -> None:
    if not condition:
        raise ConfigError(f"algorithm.tapo.{key}", got, allowed)


def _build(cls: type, options: Mapping[str, Any], path: str) -> Any:
    if not isinstance(options, Mapping):
        raise ConfigError(path, options, "needs a mapping of options")
    known = {option.name: option for option in fields(cls)}
    for key in options:
        if key not in known:
            raise ConfigError(f"{path}.{key}", options[key], f"no such option, known are {', '.join(sorted(known))}")
    values = {}
    for key, value in options.items():
        nested = known[key].default_factory
        if nested is not MISSING and is_dataclass(nested):
            value = _build(nested, {} if value is None else value, f"{path}.{key}")
        values[key] = value
    return cls(**values)


def _check_types(options: Any, path: str) -> None:
    """Compare each value with its field's annotation; an integer passes as a number, a NaN never does."""
    for option in fields(options):
        value = getattr(options, option.name)
        key = f"{path}.{option.name}"
        if is_dataclass(value):
            _check_types(value, key)
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
        fits: dict[Any, bool] = {
            bool: isinstance(value, bool),
            int: number and isinstance(value, int),
            int | None: value is None or (number and isinstance(value, int)),
            float: number,
            str: isinstance(value, str),
            str | None: value is None or isinstance(value, str),
        }
        if not fits[option.type]:
            raise ConfigError(key, value, f"needs a value of type {getattr(option.type, '__name__', option.type)}")
