"""The constructions of a group of rollouts, by the engine and the reward of the run."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from verl.experimental.agent_loop import AgentLoopOutput

from tapo.chat import prompt_ids
from tapo.config import SpliceOptions, TapoConfig
from tapo.core.construct import (
    Answer,
    Attempt,
    Candidate,
    CheckSpliced,
    Constructor,
    Response,
    Verdict,
    room_for_answer,
)
from tapo.core.funnel import ConstructionError
from tapo.core.groups import ref_group
from tapo.core.reconstruction import Spliced, decode, response_text
from tapo.core.selection import select_candidates
from tapo.rollout.group import Group, Rollout

logger = logging.getLogger(__name__)

Generate = Callable[..., Awaitable[Any]]
"""`LLMServerClient.generate`: any engine that verl serves."""
ScoreOutput = Callable[[AgentLoopOutput, Mapping[str, Any]], Awaitable[None]]
"""Sets the output's reward and the reward's extra info, as the run scores its rollouts."""


@dataclass(frozen=True)
class TokenBudget:
    """What the run allows, in tokens."""

    response_length: int
    max_model_len: int
    answer: int


@dataclass
class Construction:
    """One candidate of a group: its attempt, and the row that comes of it."""

    group: Group
    session_id: int
    """Of the row, behind those of the group's rollouts."""
    wrong: Rollout
    correct: Rollout
    attempt: Attempt
    output: AgentLoopOutput | None = None
    answer_fields: Mapping[str, Any] = field(default_factory=dict)
    """What the engine says beside the answer's tokens."""

    @property
    def key(self) -> str:
        """Of the row, as verl makes keys."""
        return f"{ref_group(self.group.uid)}_{self.session_id}_0"


Publish = Callable[[Construction], Awaitable[None]]
"""Puts the row of a finished construction beside its group."""


@dataclass
class GroupConstructor:
    """Builds micro-reflective trajectories for groups of rollouts (TAPO, section 3.3)."""

    config: TapoConfig
    tokenizer: Any
    generate: Generate
    score: ScoreOutput
    budget: TokenBudget
    chat_template_kwargs: Mapping[str, Any]
    check: CheckSpliced | None = None
    _warned_of_thinking: bool = False

    @cached_property
    def _constructor(self) -> Constructor:
        lengths = {"max_length": self.budget.response_length, "keep_prefix": self.config.keep_prefix}
        splicing = lengths | self.config.construction.part(SpliceOptions)
        return Constructor(
            self.tokenizer,
            self.config.template(),
            splicing,
            keep_failed=self.config.contrast != "none",
            check=self.check,
            drop_objected=self.config.construction.check_action == "drop",
        )

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

    async def construct(
        self, group: Group, wrong: Rollout, correct: Rollout, session_id: int, publish: Publish
    ) -> Construction:
        """Carry one candidate through, its row's publication included; whatever goes wrong, it is dropped, the outcome
        says why, and training goes on."""
        candidate = Candidate(list(wrong.fields["raw_prompt"]), self._response(wrong), self._response(correct))
        construction = Construction(group, session_id, wrong, correct, Attempt(candidate))
        attempt = construction.attempt
        carry = self._take_sibling if self.config.reconstruction == "extra_correct" else self._carry

        try:
            await asyncio.wait_for(carry(construction), self.config.construction.timeout_s)
            # Behind the time-out: a row that is half published would be worse than a late one.
            await publish(construction)
        except asyncio.TimeoutError:
            attempt.outcome = "timeout"
        except ConstructionError as error:
            attempt.outcome = error.reason
            if error.reason == "unsupported_query":
                logger.warning("%s", error)
        except Exception:
            # A construction must never cost the group its rollouts, so this is the one broad except.
            logger.exception("construction %s failed", construction.key)
            attempt.outcome = "error"
        else:
            attempt.keep()
        if attempt.thought:
            self._warn_of_thinking()
        return construction

    async def _carry(self, construction: Construction) -> None:
        """Ask, parse, splice and score."""
        group, wrong = construction.group, construction.wrong

        async def ask(messages: list[dict[str, str]]) -> Answer:
            return await self._ask(construction, messages)

        async def score(spliced: Spliced) -> Verdict:
            construction.output = constructed_output(wrong.output, spliced.ids, construction.answer_fields)
            await self.score(construction.output, wrong.fields)
            reward = construction.output.reward_score
            assert reward is not None
            return Verdict(reward, group.judge.is_correct(construction.output))

        await self._constructor.carry(construction.attempt, ask, score)

    async def _take_sibling(self, construction: Construction) -> None:
        """The control `extra_correct`: the correct sibling as it is, with the reward and the log-probs it has."""
        attempt, source = construction.attempt, construction.correct.output
        sibling = attempt.candidate.correct
        attempt.spliced = Spliced(list(sibling.ids), 0, "", correction=sibling.text)
        attempt.reached += ["parsed", "spliced"]
        attempt.reward, attempt.is_correct = sibling.reward, True
        await self._constructor.judge(attempt)
        # Containers of its own: verl adds to them while it puts the row.
        own = {"extra_fields": dict(source.extra_fields), "metrics": source.metrics.model_copy()}
        construction.output = source.model_copy(update=own)

    def _response(self, rollout: Rollout) -> Response:
        output = rollout.output
        assert output.reward_score is not None
        text = response_text(output.response_ids, self.tokenizer)[1]
        return Response(rollout.session_id, list(output.response_ids), text, float(output.reward_score))

    async def _ask(self, construction: Construction, messages: list[dict[str, str]]) -> Answer:
        ids = prompt_ids(messages, self.tokenizer, self.chat_template_kwargs)
        sibling, most = len(construction.attempt.candidate.correct.ids), self.budget.answer
        room = room_for_answer(len(ids), sibling, max_tokens=most, max_model_len=self.budget.max_model_len)
        answer = await self.generate(
            request_id=construction.key,
            prompt_ids=ids,
            sampling_params={
                **construction.group.sampling_params,
                "temperature": self.config.construction.temperature,
                "logprobs": False,
                "max_tokens": room,
            },
        )
        construction.answer_fields = answer.extra_fields or {}
        ended = construction.group.judge.ends(answer.token_ids)
        return Answer(decode(self.tokenizer, answer.token_ids), len(answer.token_ids), ended)

    def _warn_of_thinking(self) -> None:
        if not self._warned_of_thinking:
            self._warned_of_thinking = True
            logger.warning(
                "the actor thinks before it answers the construction prompt (what stands before </think> is ignored): "
                "thinking takes from construction.max_tokens; where the chat template can turn it off, do so, say with "
                "+data.apply_chat_template_kwargs.enable_thinking=false"
            )


def constructed_output(source: AgentLoopOutput, ids: list[int], answer_fields: Mapping[str, Any]) -> AgentLoopOutput:
    """The spliced trajectory as a response to the plain query, with exactly the fields of the rollout it grew from.

    No behaviour policy sampled it from the query, so its rollout log-probs, where the run keeps them, are zeros that
    nothing reads.
    """
    extra_fields = {key: value for key, value in source.extra_fields.items() if key != "reward_extra_info"}
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
