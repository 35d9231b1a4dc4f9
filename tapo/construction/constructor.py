"""One group's constructions: ask the actor, parse, splice, score. Knows no Ray and no TransferQueue."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verl.experimental.agent_loop import AgentLoopOutput
from verl.utils.tokenizer import normalize_token_ids

from tapo.config import TapoConfig
from tapo.construction.group_report import GroupReport, RejectedError
from tapo.core.prompts import construction_messages
from tapo.core.reconstruction import (
    ConstructionError,
    Spliced,
    decode,
    parse_construction,
    response_text,
    splice,
    turn_end,
)
from tapo.core.selection import select_candidates
from tapo.rollout.group import Group, Rollout

logger = logging.getLogger(__name__)

Generate = Callable[..., Awaitable[Any]]
"""`LLMServerClient.generate`: any engine that verl serves."""
Score = Callable[[AgentLoopOutput, Mapping[str, Any]], Awaitable[None]]
"""Sets the output's reward and the reward's extra info, as the run scores its rollouts."""


@dataclass(frozen=True)
class Limits:
    """Token budgets of the run."""

    response_length: int
    max_model_len: int
    max_tokens: int


@dataclass
class Attempt:
    """One candidate on its way: filled in as far as it gets."""

    wrong: Rollout
    correct: Rollout
    wrong_text: str = ""
    correct_text: str = ""
    answer: str = ""
    answer_fields: Mapping[str, Any] | None = None
    spliced: Spliced | None = None
    output: AgentLoopOutput | None = None
    is_correct: bool | None = None
    """Whether the constructed trajectory is correct; None where it was not scored."""
    outcome: str = "error"
    """`trained`, or the reason of rejection."""


class Constructor:
    """Builds micro-reflective trajectories for groups of rollouts (TAPO, section 3.3)."""

    def __init__(
        self,
        config: TapoConfig,
        tokenizer: Any,
        *,
        generate: Generate,
        score: Score,
        limits: Limits,
        chat_template_kwargs: Mapping[str, Any],
    ):
        self.config = config
        self.tokenizer = tokenizer
        self.template = config.template()
        self.generate = generate
        self.score = score
        self.limits = limits
        self.chat_template_kwargs = dict(chat_template_kwargs)
        self._warned_of_thinking = False

    def candidates(self, group: Group, step: int) -> list[tuple[Rollout, Rollout]]:
        """The (wrong, correct) pairs of a settled group; the same in a rerun, whatever order sessions settle in."""
        if not group.rollouts:
            return []
        rollouts = sorted(group.rollouts, key=lambda rollout: rollout.session_id)
        n_pos, n_neg = self.config.thresholds(group.size)
        pairs = select_candidates(
            [rollout.correctness for rollout in rollouts],
            n_pos=n_pos,
            n_neg=n_neg,
            m_max=self.config.m_max,
            rng=random.Random(self._seed(rollouts[0].output.prompt_ids, step)),
            threshold=self.config.reward_threshold,
            truncated=[rollout.truncated for rollout in rollouts],
            truncated_wrong=self.config.truncated == "last",
        )
        return [(rollouts[wrong], rollouts[correct]) for wrong, correct in pairs]

    def _seed(self, prompt_ids: Sequence[int], step: int) -> int:
        """From the run's seed, the step and the query itself: verl draws a fresh random uid in every run."""
        text = f"{self.config.seed}/{step}/{','.join(map(str, prompt_ids))}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    async def attempt(self, group: Group, wrong: Rollout, correct: Rollout, name: str, report: GroupReport) -> Attempt:
        """Carry one candidate through; whatever goes wrong, it is dropped and counted, and training goes on."""
        attempt = Attempt(wrong, correct)
        report.funnel["attempted"] += 1
        try:
            await asyncio.wait_for(self._build(attempt, group, name, report), self.config.construction.timeout_s)
        except asyncio.TimeoutError:
            attempt.outcome = "timeout"
        except (ConstructionError, RejectedError) as error:
            attempt.outcome = error.reason
        except Exception:
            # A construction must never cost the group its rollouts, so this is the one broad except.
            logger.exception("construction %s failed", name)
            attempt.outcome = "error"
        if attempt.outcome != "trained":
            report.rejected[attempt.outcome] += 1
        return attempt

    async def _build(self, attempt: Attempt, group: Group, name: str, report: GroupReport) -> None:
        prompt_ids = self._prompt_ids(attempt)
        max_tokens = min(self.limits.max_tokens, self.limits.max_model_len - len(prompt_ids))
        if max_tokens < min(self.limits.max_tokens, len(attempt.correct.output.response_ids)):
            # Not even room for an answer as long as the sibling.
            raise RejectedError("does_not_fit")
        token_output = await self.generate(
            request_id=name,
            prompt_ids=prompt_ids,
            sampling_params={
                **group.sampling_params,
                "temperature": self.config.construction.temperature,
                "logprobs": False,
                "max_tokens": max_tokens,
            },
        )
        report.generated_tokens += len(token_output.token_ids)
        attempt.answer = decode(self.tokenizer, token_output.token_ids)
        attempt.answer_fields = token_output.extra_fields
        attempt.spliced = self._splice(attempt, report)

        attempt.output = constructed_output(attempt)
        await self.score(attempt.output, attempt.wrong.fields)
        attempt.is_correct = group.judge.is_correct(attempt.output)
        if attempt.is_correct:
            report.funnel["correct"] += 1
        elif self.config.contrast == "none":
            raise RejectedError("wrong_answer")
        attempt.outcome = "trained"

    def _splice(self, attempt: Attempt, report: GroupReport) -> Spliced:
        """The answer as a trajectory.

        Raises:
            ConstructionError: the answer cannot be parsed or spliced.
        """
        answer = parse_construction(attempt.answer)
        report.funnel["parsed"] += 1
        if answer.thought:
            self._warn_of_thinking()
        options = self.config.construction
        spliced = splice(
            attempt.wrong.output.response_ids,
            answer.reconstruction,
            self.tokenizer,
            max_length=self.limits.response_length,
            min_prefix_tokens=options.min_prefix_tokens,
            min_prefix_share=options.min_prefix_share,
            require_reflection=options.require_reflection,
            keep_prefix=self.config.keep_prefix,
            wrong_text=attempt.wrong_text,
            end_ids=turn_end(attempt.correct.output.response_ids, self.tokenizer),
        )
        report.funnel["spliced"] += 1
        report.prefix_fraction_sum += spliced.prefix_length / len(attempt.wrong.output.response_ids)
        report.without_reflection += int(self.config.keep_prefix and not spliced.has_reflection)
        return spliced

    def _warn_of_thinking(self) -> None:
        if not self._warned_of_thinking:
            self._warned_of_thinking = True
            logger.warning(
                "the actor thinks before it answers the construction prompt (what stands before </think> is ignored): "
                "thinking takes from construction.max_tokens; where the chat template can turn it off, do so, say with "
                "+data.apply_chat_template_kwargs.enable_thinking=false"
            )

    def _prompt_ids(self, attempt: Attempt) -> list[int]:
        """The construction prompt as token ids, never truncated."""
        attempt.wrong_text = response_text(attempt.wrong.output.response_ids, self.tokenizer)[1]
        attempt.correct_text = response_text(attempt.correct.output.response_ids, self.tokenizer)[1]
        if not attempt.wrong_text.strip() or not attempt.correct_text.strip():
            raise RejectedError("empty_response")
        try:
            messages = construction_messages(
                list(attempt.wrong.fields["raw_prompt"]),
                wrong=attempt.wrong_text,
                correct=attempt.correct_text,
                template=self.template,
            )
        except ValueError as error:
            logger.warning("%s", error)
            raise RejectedError("unsupported_query") from error
        encoded = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, **self.chat_template_kwargs
        )
        return normalize_token_ids(encoded)


def constructed_output(attempt: Attempt) -> AgentLoopOutput:
    """The spliced trajectory as a response to the plain query, with exactly the fields of the rollout it grew from.

    No behaviour policy sampled it from the query, so its rollout log-probs, where the run keeps them, are zeros that
    nothing reads.
    """
    assert attempt.spliced is not None
    source, ids = attempt.wrong.output, attempt.spliced.ids
    extra_fields = {key: value for key, value in source.extra_fields.items() if key != "reward_extra_info"}
    answer_fields = attempt.answer_fields or {}
    for key in ("global_steps", "min_global_steps", "max_global_steps"):
        if key in extra_fields and answer_fields.get(key) is not None:
            extra_fields[key] = answer_fields[key]
    return source.model_copy(
        update={
            "response_ids": ids,
            "response_mask": [1] * len(ids),
            "response_logprobs": None if source.response_logprobs is None else [0.0] * len(ids),
            "reward_score": None,
            "metrics": source.metrics.model_copy(),
            "extra_fields": extra_fields,
        }
    )
