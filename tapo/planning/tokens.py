"""Tokens of a step, expected: those that the engine decodes and prefills, and those that are trained."""

from dataclasses import dataclass

from omegaconf import DictConfig

from tapo.config import TapoConfig
from tapo.core.asking import analysis_room
from tapo.core.form import Form
from tapo.launch.checks import get
from tapo.planning.options import PolicyOptions

PROMPT_WORDS = 400
"""Of the construction prompt itself."""
QUOTE = 40
"""Of the passage that an anchored answer quotes, with its tags."""


@dataclass(frozen=True)
class StepTokens:
    """Of one step.

    Attributes:
        rows: that are trained.
        row: mean tokens of one, its query among them.
        decoded, prefilled: by the engine; what its prefix cache holds is prefilled once.
        last: tokens decoded one behind the other where the slowest rollout constructs.
    """

    rows: float
    row: float
    decoded: float
    prefilled: float
    last: float

    @property
    def trained(self) -> float:
        return self.rows * self.row


def rollout_tokens(config: DictConfig, policy: PolicyOptions) -> StepTokens:
    """Of the run without TAPO."""
    queries, n = get(config, "data.train_batch_size"), get(config, "actor_rollout_ref.rollout.n")
    query, response = mean_lengths(config, policy)
    return StepTokens(
        rows=queries * n,
        row=query + response,
        decoded=queries * n * response,
        prefilled=queries * query,
        last=get(config, "data.max_response_length"),
    )


def tapo_tokens(config: DictConfig, tapo: TapoConfig, policy: PolicyOptions) -> StepTokens:
    """Of the run with TAPO: rollouts and constructions."""
    rollouts = rollout_tokens(config, policy)
    if not tapo.enable:
        return rollouts
    query, response = mean_lengths(config, policy)
    attempts = get(config, "data.train_batch_size") * policy.eligible * tapo.m_max
    if tapo.asks_actor:
        # Of `mixed` the dearer one: which of the two is asked for depends on the run.
        parts = [answer_tokens(form, response, policy) for form in tapo.construction.forms]
        samples = max(tapo.construction.samples if form.own else 1 for form in tapo.construction.forms)
        opening, correction = max(part[0] for part in parts), parts[0][1]
        valid, words = policy.valid * samples, PROMPT_WORDS
    else:  # one more copy of the sibling: nothing is decoded
        opening = correction = valid = samples = words = 0
    rows = attempts * (valid or 1)
    trained = rollouts.trained + rows * (query + response + policy.reflection)
    asked = query + 2 * response + words if tapo.asks_actor else 0
    return StepTokens(
        rows=rollouts.rows + rows,
        row=trained / (rollouts.rows + rows),
        decoded=rollouts.decoded + attempts * (opening + samples * correction),
        prefilled=rollouts.prefilled + attempts * asked,
        last=rollouts.last + (opening + correction) * rollouts.last / response,
    )


def answer_tokens(form: Form, response: float, policy: PolicyOptions) -> tuple[float, float]:
    """Tokens that are decoded for one construction, up to its correction and in one correction.

    Args:
        response: tokens of the wrong response.
    """
    copied = QUOTE if form.anchored else policy.error_at * response
    analysis = min(policy.analysis, analysis_room(round(response)))
    return analysis + copied + policy.reflection, (1 - policy.error_at) * response


def mean_lengths(config: DictConfig, policy: PolicyOptions) -> tuple[float, float]:
    """Of a query and a response, in tokens."""
    return (
        policy.prompt_share * get(config, "data.max_prompt_length"),
        policy.response_share * get(config, "data.max_response_length"),
    )
