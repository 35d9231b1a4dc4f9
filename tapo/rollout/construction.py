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
from tapo.core.asking import EngineAsk, TokenBudget
from tapo.core.attempt import Attempt, Candidate, Response
from tapo.core.construct import CheckSpliced, Constructor, Verdict
from tapo.core.decoding import Decoding, Request
from tapo.core.form import Form
from tapo.core.funnel import ConstructionError
from tapo.core.reconstruction import Spliced, response_text
from tapo.core.selection import select_candidates
from tapo.rollout.constructed_row import Construction, constructed_output
from tapo.rollout.deadline import Deadline
from tapo.rollout.group import Group, Rollout

logger = logging.getLogger(__name__)

Generate = Callable[..., Awaitable[Any]]
"""`LLMServerClient.generate`: any engine that verl serves."""
ScoreOutput = Callable[[AgentLoopOutput, Mapping[str, Any]], Awaitable[None]]
"""Sets the output's reward and the reward's extra info, as the run scores its rollouts."""


PIECE_TOKENS = 256
"""Of a request, where the engine cannot stop at a text by itself."""


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
    stops_at_text: bool = True
    """Whether the engine takes stop strings."""
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    check: CheckSpliced | None = None
    """Asked of every scored trajectory."""
    _warned_of_thinking: bool = False

    def _constructor(self, form: Form) -> Constructor:
        lengths = {"max_length": self.budget.response_length, "keep_prefix": self.config.keep_prefix}
        splicing = lengths | self.config.construction.part(SpliceOptions)
        return Constructor(
            self.tokenizer,
            self.config.template(form),
            splicing,
            keep_failed=self.config.contrast != "none",
            form=form,
            check=self.check,
            drop_objected=self.config.construction.check_action == "drop",
        )

    @cached_property
    def _constructors(self) -> dict[Form, Constructor]:
        return {form: self._constructor(form) for form in self.config.construction.forms}

    @cached_property
    def _piece(self) -> int | None:
        return self.config.construction.slice_tokens or (None if self.stops_at_text else PIECE_TOKENS)

    def form_of(self, group: Group) -> Form:
        """What a group's constructions are asked for: of two forms `own`, where a rollout that reflects is right."""
        *others, last = self.config.construction.forms
        return last if not others or group.reflects_rightly else others[0]

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
    ) -> list[Construction]:
        """Carry one candidate through, its rows' publication included; whatever goes wrong, it is dropped, the outcome
        says why, and training goes on.

        Returns:
            One construction, or as many as corrections were sampled behind one reflection.
        """
        candidate = Candidate(list(wrong.fields["raw_prompt"]), self._response(wrong), self._response(correct))
        first = Construction(group, session_id, wrong, correct, Attempt(candidate), self.form_of(group))
        ends_at = asyncio.get_running_loop().time() + self.config.construction.timeout_s
        opened = await self._guard(first, self._open, ends_at)
        if first.attempt.thought:
            self._warn_of_thinking()
        if not opened:
            return [first]
        further = range(1, self.config.construction.samples if first.attempt.own else 1)
        constructions = [first, *map(first.again, further)]
        await asyncio.gather(*(self._finish(construction, ends_at, publish) for construction in constructions))
        return constructions

    async def _finish(self, construction: Construction, ends_at: float, publish: Publish) -> None:
        """Correct where the policy does, score, judge, publish."""
        if not await self._guard(construction, self._score, ends_at):
            return
        # Behind the time-out: a row that is half published would be worse than a late one.
        if await self._guard(construction, publish):
            construction.attempt.keep()

    async def _guard(
        self,
        construction: Construction,
        work: Callable[[Construction], Awaitable[None]],
        ends_at: float | None = None,
    ) -> bool:
        """Whether a part of the work was done; else the outcome says why not. With an end, the deadline holds too."""
        attempt = construction.attempt
        try:
            if ends_at is None:
                await work(construction)
            else:
                left = max(ends_at - asyncio.get_running_loop().time(), 0)
                await asyncio.wait_for(self.deadline.bound(lambda: work(construction)), left)
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
            return True
        return False

    async def _open(self, construction: Construction) -> None:
        """Ask, parse and splice."""
        if not self.config.asks_actor:
            return self._take_sibling(construction)
        decoding = Decoding(self.tokenizer, construction.group.judge.ends, self._piece)
        temperature = {"temperature": self.config.construction.temperature}

        def prompt(messages: list[dict[str, str]]) -> list[int]:
            return prompt_ids(messages, self.tokenizer, self.chat_template_kwargs)

        async def sample(request: Request) -> Sequence[int]:
            return await self._sample(construction, request, temperature)

        ask = EngineAsk(construction.form, decoding, self.budget, prompt, sample)
        await self._constructors[construction.form].open(construction.attempt, ask)

    async def _score(self, construction: Construction) -> None:
        """Let the policy correct, where it does so by itself, score and judge."""
        constructor = self._constructors[construction.form]
        if not self.config.asks_actor:
            return await constructor.judge(construction.attempt)
        group, wrong = construction.group, construction.wrong

        async def go_on(attempt: Attempt) -> Sequence[int]:
            assert attempt.spliced is not None
            begun = [*wrong.output.prompt_ids, *attempt.spliced.ids]
            most = self.budget.response_length - len(attempt.spliced.ids)
            decoding = Decoding(self.tokenizer, group.judge.ends, self._piece)

            async def sample(request: Request) -> Sequence[int]:
                return await self._sample(construction, request, {})

            return (await decoding.run(sample, begun, most, None, attempt.usage)).ids

        async def score(spliced: Spliced) -> Verdict:
            construction.output = constructed_output(wrong.output, spliced.ids, construction.versions)
            await self.score(construction.output, wrong.fields)
            reward = construction.output.reward_score
            assert reward is not None
            return Verdict(reward, group.judge.is_correct(construction.output))

        await constructor.finish(construction.attempt, go_on, score)

    def _take_sibling(self, construction: Construction) -> None:
        """The control `extra_correct`: the correct sibling as it is, with the reward and the log-probs it has."""
        attempt, source = construction.attempt, construction.correct.output
        sibling = attempt.candidate.correct
        attempt.spliced = Spliced(list(sibling.ids), 0, "", correction=sibling.text)
        attempt.reached += ["parsed", "spliced"]
        attempt.reward, attempt.is_correct = sibling.reward, True
        # Containers of its own: verl adds to them while it puts the row.
        own = {"extra_fields": dict(source.extra_fields), "metrics": source.metrics.model_copy()}
        construction.output = source.model_copy(update=own)

    def _response(self, rollout: Rollout) -> Response:
        output = rollout.output
        assert output.reward_score is not None
        text = response_text(output.response_ids, self.tokenizer)[1]
        return Response(rollout.session_id, list(output.response_ids), text, float(output.reward_score))

    async def _sample(
        self, construction: Construction, request: Request, sampling_params: Mapping[str, Any]
    ) -> Sequence[int]:
        """Ask the run's engine, with the rollouts' sampling but for what is given."""
        stop = {"stop": [request.until], "include_stop_str_in_output": True}
        answer = await self.generate(
            request_id=construction.key,
            prompt_ids=request.prompt_ids,
            sampling_params={
                **construction.group.sampling_params,
                **sampling_params,
                **(stop if request.until and self.stops_at_text else {}),
                "logprobs": False,
                "max_tokens": request.most,
            },
        )
        construction.note(answer.extra_fields)
        return list(answer.token_ids)

    def _warn_of_thinking(self) -> None:
        if not self._warned_of_thinking:
            self._warned_of_thinking = True
            logger.warning(
                "the actor thinks before it answers the construction prompt (what stands before </think> is ignored): "
                "thinking takes from construction.max_tokens; where the chat template can turn it off, do so, say with "
                "+data.apply_chat_template_kwargs.enable_thinking=false"
            )
