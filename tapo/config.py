"""`algorithm.tapo`: every option, its default and where it comes from."""

import warnings
from typing import Annotated, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import model_validator
from typing_extensions import Self

from tapo.core.defaults import MIN_PREFIX_SHARE, REWARD_THRESHOLD
from tapo.core.form import PAPER_FORM, Copy, Correction, Corrections, Form
from tapo.core.prompts import FULL_RECONSTRUCTION_PROMPT, check_template
from tapo.core.schedule import scheduled
from tapo.core.selection import PAPER_N_NEG, PAPER_N_POS, least_of
from tapo.options import AtLeastOne, AtLeastZero, ConfigError, Needs, NotNegative, Options, Share, text_given

__all__ = [
    "CheckOptions",
    "ConfigError",
    "ConstructionConfig",
    "FormOptions",
    "LambdaSchedule",
    "OtsConfig",
    "RefLossConfig",
    "SpliceOptions",
    "TapoConfig",
    "read_tapo_config",
]


# pydantic's models have had a method of that name; nothing here calls it.
warnings.filterwarnings("ignore", message='Field name "copy"', category=UserWarning)

RolloutsOrShare = Annotated[
    int | float,
    Needs(
        "an integer >= 1, a share of the group between 0 and 1, or null",
        lambda least: least >= 1 if isinstance(least, int) else 0 < least < 1,
    ),
]


class OtsConfig(Options):
    """OOD token suppression (paper, eq. 7)."""

    enable: bool = True
    """False trains constructed rows unweighted (ablation "w/o OTS")."""
    low: Annotated[float, Needs("a weight bound >= 0", lambda bound: bound >= 0)] = 0.01
    """Lower bound of a token's weight (paper: 0.01)."""
    high: float = 10.0
    """Upper bound of a token's weight (paper: 10.0)."""
    spare_reflection: bool = True
    """True gives the tokens of a recognised reflection a weight of 1 (paper: false). A policy that rarely reflects
    finds the words that open one surprising, and the suppression then falls on what is to be learned."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if not self.high >= self.low:
            raise ConfigError("high", self.high, f"needs a bound >= ots.low ({self.low})")
        return self


class RefLossConfig(Options):
    """What the loss of constructed rows is made of (paper, eq. 6)."""

    normalization: Literal["own", "rollouts"] = "rollouts"
    """What their loss is divided by (the paper does not say). `rollouts`: what the rollouts of the same mini-batch are
    divided by, so that each token counts alike; `own`: the update's constructed tokens, so that few rows weigh as much
    together as all rollouts. Rows in place of tokens where `actor.loss_agg_mode` counts rows."""
    prefix_weight: Share = 1.0
    """Weight of the kept prefix's tokens, 0 to 1, on top of OTS (paper: 1, the erroneous prefix is trained like the
    rest). 0 masks it in the policy loss; what the loss is divided by, KL and entropy terms stay as they are."""
    grad_norms_every: AtLeastZero = 0
    """Every so many steps the gradient norm of each loss by itself is logged, before clipping, that of constructed rows
    times lambda_ref; 0 never. Such a step computes its update three times over, and the update is the same."""


class LambdaSchedule(Options):
    """How the weight of the constructed rows' loss changes from `lambda_ref` on (the paper keeps it constant)."""

    shape: Literal["constant", "linear", "cosine"] = "constant"
    """`linear` and `cosine` go from lambda_ref in the first step to `end`."""
    end: NotNegative = 0.0
    """The weight behind the last step of the schedule. At 0 the run goes on as GRPO, and constructs for inspection."""
    steps: AtLeastOne | None = None
    """Training steps until `end`; null: all of the run's. A function of the global step, whatever was resumed."""

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.shape == "constant" and (self.end or self.steps):
            raise ConfigError("shape", self.shape, "needs linear or cosine where end or steps are given")
        return self


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


class CheckOptions(Options):
    """What is asked of a construction's text beyond its answer."""

    panel = "Trajectories"

    check: str | None = None
    """FILE.py:FUNCTION, your own code, that judges the text of each spliced construction: called with query, prefix,
    reflection, correction and is_correct by name, it returns a label of what is wrong, or "" (docs/construction.md). A
    run loads it in every agent-loop worker: each node needs the file at the same place."""
    check_action: Literal["count", "drop"] = "count"
    """`count` records what the check says; `drop` drops constructions that it objects to, under the reason `check`."""


class FormOptions(Options):
    """What a construction is asked for, and a cold start teaches. The paper's is verbatim and guided."""

    copy: Copy = "verbatim"  # type: ignore[assignment]
    """Who writes the erroneous prefix out. `verbatim`: the actor, token by token (paper). `anchored`: it quotes the
    erroneous passage, and the attempt's own tokens up to there are put into its answer: none of them is decoded, and
    none can be copied wrongly. The cold start teaches one of the two."""
    correction: Corrections = "guided"
    """Who corrects. `guided`: the actor, which is shown the correct sibling (paper). `own`: it ends behind the
    reflection, and the policy goes on from the plain query, the kept prefix and the reflection, sampled as rollouts
    are: nothing can be smuggled in, and the reward says what the reflection is worth. `mixed`: `own` in groups in which
    a rollout reflects by itself and is right, `guided` in all others; the cold start teaches both."""

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms of these options."""
        kinds: tuple[Correction, ...] = ("guided", "own") if self.correction == "mixed" else (self.correction,)
        return tuple(Form(self.copy, kind) for kind in kinds)


class ConstructionConfig(FormOptions, CheckOptions, SpliceOptions):
    """How the actor is asked for a construction. The paper does not say these."""

    samples: AtLeastOne = 1
    """Corrections that the policy samples behind one reflection, each a row; where it corrects by itself."""

    max_tokens: Annotated[int, Needs("null or an integer >= 1", lambda tokens: tokens >= 1)] | None = None
    """Most tokens of the actor's answer; null: one response and half a response for the analysis."""
    temperature: NotNegative = 1.0
    """Sampling temperature of the answer; top_p and top_k are the rollouts'."""
    timeout_s: Annotated[float, Needs("seconds > 0", lambda seconds: seconds > 0)] = 600.0
    """Seconds after which one construction is given up, and aborted in the engine. It counts waiting in the engine's
    queue and, in the asynchronous modes, training phases in which the engine stands still: there it should be several
    steps long."""
    slice_tokens: AtLeastOne | None = None
    """Most tokens of one request to the engine; null: a whole answer where the engine stops at a text (vLLM), else
    256. What was decoded before is in the engine's prefix cache."""
    deadline: NotNegative | None = None
    """Seconds that constructions may go on behind the last rollout of their worker; what is not done then is aborted in
    the engine and counted. null: until it is done, or timed out."""
    prompt_file: str | None = None
    """UTF-8 file that replaces the construction prompt; holds {query}, {wrong} and {correct} once each."""
    prompt: str | None = None
    """The same as text. A run reads its prompt_file once, where it starts, and hands it to its workers as this."""
    own_prompt_file: str | None = None
    """The same of the prompt that asks for no more than the reflection, where the policy corrects by itself."""
    own_prompt: str | None = None
    """The same as text."""

    @model_validator(mode="after")
    def _check_samples(self) -> Self:
        if self.samples > 1 and self.correction == "guided":
            raise ConfigError("samples", self.samples, "more than 1 needs construction.correction = own or mixed")
        return self


class TapoConfig(Options):
    """The method's options. Defaults are the paper's where it gives one."""

    enable: bool = True
    """False constructs nothing: the run is what it is without TAPO."""
    n_pos: RolloutsOrShare | None = None
    """Least number of correct rollouts of an eligible group, or below 1 the least share of it, rounded down and at
    least one rollout; null: a quarter, as the paper's 2 of 8."""
    n_neg: RolloutsOrShare | None = None
    """The same of wrong rollouts; null: half of the group, as the paper's 4 of 8."""
    m_max: AtLeastOne = 4
    """Most constructions of a group (paper: 4)."""
    lambda_ref: NotNegative = 1.0
    """Weight of the constructed rows' loss (paper, eq. 6: 1.0); 0 constructs for inspection and trains as GRPO does."""
    lambda_schedule: LambdaSchedule = LambdaSchedule()
    contrast: Literal["source", "failed", "none"] = "source"
    """What G_ref is compared with (the paper does not say). `source`: the rewards of the wrong rollouts built upon
    enter its mean and std; `failed`: the constructed rows alone, failed ones included; `none`: failed ones are
    dropped, and a group whose rewards are then all equal has no advantage."""
    advantage: Literal["decoupled", "coupled"] = "decoupled"
    """`coupled` puts constructed rows into the rollouts' group, with one mean and one std over both (control: what
    decoupling prevents). The rollouts' advantages change; `contrast: source` adds nothing to it."""
    reconstruction: Literal["micro_reflective", "full", "extra_correct"] = "micro_reflective"
    """`full` drops the prefix and trains a whole corrected solution (ablation); `extra_correct` asks for nothing and
    trains one more copy of the correct sibling in its place (control: is the gain more than an extra correct
    sample?)."""
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
    """Folder for one JSON line per attempted construction and per trained row; null writes none. What a full disk does
    not take is counted (`tapo/dump/lost`), and the run goes on."""
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
    def _check_templates(self) -> Self:
        for form in self.construction.forms:
            self.template(form)
        return self

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        for name, only in (("copy", "verbatim"), ("correction", "guided")):
            got = getattr(self.construction, name)
            if not self.keep_prefix and got != only:
                raise ConfigError(f"construction.{name}", got, "needs reconstruction = micro_reflective")
        return self

    def thresholds(self, group_size: int) -> tuple[int, int]:
        """(n_pos, n_neg) of a group of `group_size` rollouts: as configured, else the paper's shares of it."""
        return least_of(group_size, self.n_pos or PAPER_N_POS), least_of(group_size, self.n_neg or PAPER_N_NEG)

    def lambda_at(self, step: int, total_steps: int) -> float:
        """The weight of the constructed rows' loss in a global step, from 1 on, of a run of `total_steps`."""
        schedule = self.lambda_schedule
        progress = (step - 1) / (schedule.steps or total_steps)
        return scheduled(schedule.shape, self.lambda_ref, schedule.end, progress)

    @property
    def keep_prefix(self) -> bool:
        """Whether a constructed trajectory begins with the wrong rollout's own tokens."""
        return self.reconstruction == "micro_reflective"

    @property
    def asks_actor(self) -> bool:
        """Whether the rollout engine answers a construction prompt."""
        return self.reconstruction != "extra_correct"

    def template(self, form: Form = PAPER_FORM) -> str:
        """The construction prompt in force for a form.

        Raises:
            ConfigError: its file cannot be read or lacks a placeholder.
        """
        of, key = self.construction, "algorithm.tapo.construction."
        if form.own:
            given = text_given(of.own_prompt, of.own_prompt_file, check_template, key=f"{key}own_prompt")
        else:
            given = text_given(of.prompt, of.prompt_file, check_template, key=f"{key}prompt")
        return given or (form.prompt if self.keep_prefix else FULL_RECONSTRUCTION_PROMPT)


def read_tapo_config(config: DictConfig) -> TapoConfig:
    """The run's `algorithm.tapo`.

    Raises:
        ConfigError: the node is missing, or an option is unknown or out of range.
    """
    node = OmegaConf.select(config, "algorithm.tapo")
    if node is None:
        raise ConfigError("algorithm.tapo", None, "append +tapo=default to the launch command")
    return TapoConfig.from_mapping(OmegaConf.to_container(node, resolve=True))
