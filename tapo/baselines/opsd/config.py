"""`algorithm.opsd`: every option, its default and where it comes from."""

from functools import partial
from typing import Annotated, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import model_validator
from typing_extensions import Self

from tapo.core.defaults import REWARD_THRESHOLD
from tapo.core.prompts import check_template
from tapo.options import AtLeastOne, ConfigError, Needs, NotNegative, Options, text_given

PLACEHOLDERS = ("query", "solution")

PRIVILEGED_PROMPT = """{query}

Here is a solution that is right:

{solution}

Now solve the problem yourself, step by step and in your own words."""
"""Ours; the published one is longer. It asks for a derivation of one's own, so that the teacher neither copies nor
mentions what it was shown."""

DIVERGENCES = {"reverse_kl": "reverse", "forward_kl": "forward"}
"""The modes that minimise a divergence, and its direction."""


class OpsdConfig(Options):
    """On-policy self-distillation in place of GRPO: the policy, with the solution in its prompt, is the teacher.
    "Published" is arXiv 2601.18734 and its code."""

    mode: Literal["advantage", "reverse_kl", "forward_kl"] = "advantage"
    """What is trained. `advantage`: log pi(y_t | query, solution) - log pi(y_t | query) of each sampled token is its
    advantage (the published alternative, for any engine); `reverse_kl`, `forward_kl`: KL(student || teacher) or
    KL(teacher || student) over the vocabulary at each token is the loss (`forward_kl` is what the published code runs
    with; FSDP alone)."""
    coefficient: NotNegative = 1.0
    """Of the log-ratio or the divergence."""
    task_rewards: bool = False
    """True adds the run's own advantages (`algorithm.adv_estimator`); published: no reward at all."""
    clip: Annotated[float, Needs("null or a number > 0", lambda clip: clip > 0)] | None = None
    """Bound of a token's log-ratio on either side, or of what each entry of the vocabulary adds to a divergence
    (published: 0.05 for `forward_kl`, since words like "wait" otherwise carry the loss); null: none."""
    top_k: AtLeastOne | None = 64
    """Entries of the vocabulary that a divergence tells apart: the teacher's most probable ones, with all others as one
    (published: the whole vocabulary, or the teacher's top k); null: the whole vocabulary."""
    teacher: Literal["policy", "initial"] = "policy"
    """Whose weights the teacher has: the policy's before the step's updates, or those that the run began with
    (published), which is the run's reference policy; without a KL term one is made for it."""
    privileged: Literal["sibling", "solution"] = "sibling"
    """What the teacher is shown: a correct rollout of the same query other than the one that it teaches, or the
    dataset's solution (published)."""
    solution_key: str | None = None
    """Where a row of the dataset holds its solution, dots between names: `extra_info.solution`, say."""
    template_file: str | None = None
    """UTF-8 file with what the teacher is asked in place of the query; holds {query} and {solution} once each."""
    template: str | None = None
    """The same as text."""
    correct_key: str | None = None
    """As algorithm.tapo.correct_key: what says that a rollout is correct; null: its reward."""
    reward_threshold: float = REWARD_THRESHOLD
    """A rollout is correct iff its reward, or its value under `correct_key`, is greater."""
    seed: int = 0
    """With step and query the source of each draw of a sibling."""

    @classmethod
    def key(cls, path: str) -> str:
        """Its place in the run's config."""
        return path if path.startswith("algorithm.opsd") else ".".join(filter(None, ("algorithm.opsd", path)))

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.prompt()
        if (self.privileged == "solution") is not (self.solution_key is not None):
            allowed = "privileged=solution and solution_key go together"
            raise ConfigError("algorithm.opsd.solution_key", self.solution_key, allowed)
        return self

    @property
    def direction(self) -> str | None:
        """Of the divergence that is minimised; None where the log-ratio is an advantage."""
        return DIVERGENCES.get(self.mode)

    def prompt(self) -> str:
        """The template in force.

        Raises:
            ConfigError: `template_file` cannot be read, or a placeholder is missing.
        """
        check = partial(check_template, placeholders=PLACEHOLDERS, prompt="the teacher's prompt")
        return text_given(self.template, self.template_file, check, key="algorithm.opsd.template") or PRIVILEGED_PROMPT


def uses_opsd(config: DictConfig) -> bool:
    """Whether the run has loaded the config group."""
    return OmegaConf.select(config, "algorithm.opsd") is not None


def read_opsd_config(config: DictConfig) -> OpsdConfig:
    """The run's `algorithm.opsd`; ConfigError for an option that is unknown or out of range."""
    return OpsdConfig.from_mapping(OmegaConf.to_container(OmegaConf.select(config, "algorithm.opsd"), resolve=True))
