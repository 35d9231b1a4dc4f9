"""`algorithm.tapo`: every option, its default and where it comes from."""

from pathlib import Path
from typing import Annotated, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import model_validator
from typing_extensions import Self

from tapo.core.defaults import MIN_PREFIX_SHARE, REWARD_THRESHOLD
from tapo.core.prompts import CONSTRUCTION_PROMPT, FULL_RECONSTRUCTION_PROMPT, check_template
from tapo.core.selection import paper_thresholds
from tapo.options import AtLeastOne, AtLeastZero, ConfigError, Needs, NotNegative, Options, Share

__all__ = [
    "ConfigError",
    "ConstructionConfig",
    "OtsConfig",
    "RefLossConfig",
    "SpliceOptions",
    "TapoConfig",
    "read_tapo_config",
]


class OtsConfig(Options):
    """OOD token suppression (paper, eq. 7)."""

    enable: bool = True
    """False trains constructed rows unweighted (ablation "w/o OTS")."""
    low: Annotated[float, Needs("a weight bound >= 0", lambda bound: bound >= 0)] = 0.01
    """Lower bound of a token's weight (paper: 0.01)."""
    high: float = 10.0
    """Upper bound of a token's weight (paper: 10.0)."""
    spare_reflection: bool = False
    """True gives the tokens of a recognised reflection a weight of 1 (paper: false). A policy that rarely reflects
    finds the words that open one surprising, and the suppression then falls on what is to be learned."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if not self.high >= self.low:
            raise ConfigError("high", self.high, f"needs a bound >= ots.low ({self.low})")
        return self


class RefLossConfig(Options):
    """What the loss of constructed rows is made of (paper, eq. 6)."""

    normalization: Literal["own", "rollouts"] = "own"
    """What their loss is divided by (the paper does not say). `own`: the update's constructed tokens, so that few rows
    weigh as much together as all rollouts; `rollouts`: what the rollouts of the same mini-batch are divided by, so that
    each token counts alike. Rows in place of tokens where `actor.loss_agg_mode` counts rows."""


class SpliceOptions(Options):
    """Which answers are spliced onto the wrong rollout."""

    min_prefix_tokens: AtLeastZero = 1
    """Least number of tokens kept from the wrong rollout; 0 allows answers that start over."""
    min_prefix_share: Share = MIN_PREFIX_SHARE
    """Least share of the wrong rollout's text that is kept, 0 to 1. An error may come early in a long attempt: no share
    is asked for where a reflection opens the new text. Without one, little kept is a solution that starts over."""
    require_reflection: bool = False
    """True drops constructions in which no reflection is recognised at the splice point. By default they are trained
    and counted in tapo/construct/without_reflection: recognition knows phrases of some thirty languages, and would
    drop about one good construction in fifteen, all of them in a language it does not know (docs/construction.md)."""


class ConstructionConfig(SpliceOptions):
    """How the actor is asked for a construction. The paper does not say these."""

    max_tokens: Annotated[int, Needs("null or an integer >= 1", lambda tokens: tokens >= 1)] | None = None
    """Most tokens of the actor's answer; null: one response and half a response for the analysis."""
    temperature: NotNegative = 1.0
    """Sampling temperature of the answer; top_p and top_k are the rollouts'."""
    timeout_s: Annotated[float, Needs("seconds > 0", lambda seconds: seconds > 0)] = 600.0
    """Seconds after which one construction is given up. It counts waiting in the engine's queue and, in the
    asynchronous modes, training phases in which the engine stands still: there it should be several steps long."""
    prompt_file: str | None = None
    """UTF-8 file that replaces the construction prompt; holds {query}, {wrong} and {correct} once each."""
    prompt: str | None = None
    """The same as text. A run reads its prompt_file once, where it starts, and hands it to its workers as this."""


class TapoConfig(Options):
    """The method's options. Defaults are the paper's where it gives one."""

    enable: bool = True
    """False constructs nothing: the run is what it is without TAPO."""
    n_pos: AtLeastOne | None = None
    """Least number of correct rollouts of an eligible group; null: a quarter of it, as the paper's 2 of 8."""
    n_neg: AtLeastOne | None = None
    """Least number of wrong rollouts of an eligible group; null: half of it, as the paper's 4 of 8."""
    m_max: AtLeastOne = 4
    """Most constructions of a group (paper: 4)."""
    lambda_ref: NotNegative = 1.0
    """Weight of the constructed rows' loss (paper, eq. 6: 1.0); 0 constructs for inspection and trains as GRPO does."""
    contrast: Literal["source", "failed", "none"] = "source"
    """What G_ref is compared with (the paper does not say). `source`: the rewards of the wrong rollouts built upon
    enter its mean and std; `failed`: the constructed rows alone, failed ones included; `none`: failed ones are
    dropped, and a group whose rewards are then all equal has no advantage."""
    reconstruction: Literal["micro_reflective", "full"] = "micro_reflective"
    """`full` drops the prefix and trains a whole corrected solution (ablation)."""
    correct_key: str | None = None
    """What says that a rollout is correct; null: its reward. Where the reward holds more than correctness (length
    penalties, format bonuses), the key of the reward's extra info that holds it: `acc`, say."""
    reward_threshold: float = REWARD_THRESHOLD
    """A rollout is correct iff its reward, or its value under `correct_key`, is greater."""
    truncated: Literal["last", "never"] = "last"
    """Rollouts cut off at `rollout.response_length` are no correct siblings. As the wrong one they are taken `last`,
    where those that ended by themselves do not suffice, or `never` (the paper does not say)."""
    seed: int = 0
    """With step and query the source of all random choices; a rerun picks the same."""
    dump_dir: str | None = None
    """Folder for one JSON line per attempted construction and per trained row; null writes none."""
    log_trajectories_every: AtLeastZero = 0
    """Every so many steps a table of constructed trajectories goes to W&B or TensorBoard, where the run logs to them;
    0 never."""
    log_trajectories: AtLeastOne = 8
    """Trajectories of such a table."""
    ots: OtsConfig = OtsConfig()
    ref: RefLossConfig = RefLossConfig()
    construction: ConstructionConfig = ConstructionConfig()

    @classmethod
    def key(cls, path: str) -> str:
        """Its place in the run's config."""
        return path if path.startswith("algorithm.tapo") else ".".join(filter(None, ("algorithm.tapo", path)))

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        self.template()
        return self

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
