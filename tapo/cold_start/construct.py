"""Corrective trajectories from scored rollouts: at most one a query, by the method's own core."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tapo.cold_start.answering import Actor, Request, RequestDoesNotFit
from tapo.cold_start.records import INELIGIBLE, KEPT, Record
from tapo.core.prompts import construction_messages
from tapo.core.reconstruction import (
    MIN_PREFIX_SHARE,
    ConstructionError,
    parse_construction,
    splice,
    turn_end,
    visible_answer,
)
from tapo.core.selection import select_candidates
from tapo.data.rollout_store import QueryRollouts
from tapo.generation.engine import derived_seed
from tapo.generation.scoring import Scorer


@dataclass(frozen=True)
class Limits:
    """Who is eligible, how often to try, and how long a trajectory may be (in tokens)."""

    n_pos: int = 1
    n_neg: int = 1
    attempts: int = 4
    response_length: int = 8192
    min_prefix_tokens: int = 1
    threshold: float = 0.5
    min_prefix_share: float = MIN_PREFIX_SHARE
    require_reflection: bool = True

    def __post_init__(self) -> None:
        for name in ("n_pos", "n_neg", "attempts", "response_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} cannot work: needs an integer >= 1")
        if not 0 <= self.min_prefix_share <= 1:
            raise ValueError(f"min_prefix_share = {self.min_prefix_share} cannot work: needs a share between 0 and 1")


@dataclass(frozen=True)
class ConstructionTask:
    """How the rollouts of a query become a `Record`."""

    actor: Actor
    scorer: Scorer
    tokenizer: Any
    template: str
    limits: Limits
    seed: int

    async def __call__(self, rollouts: QueryRollouts) -> Record:
        """Try wrong rollouts in turns until one attempt is good."""
        pairs = self._pairs(rollouts)
        plain = self._plain(rollouts)
        base: dict[str, Any] = {
            "index": rollouts.index,
            "data_source": rollouts.data_source,
            "prompt": list(rollouts.prompt),
        }
        rejected: list[str] = []
        tries = self.limits.attempts if self.actor.repeats else len(pairs)
        for attempt in range(tries if pairs else 0):
            try:
                kept = await self._attempt(rollouts, pairs[attempt % len(pairs)], attempt)
            except (ConstructionError, RejectedError) as error:
                rejected.append(error.reason)
            else:
                return Record(**base, outcome=KEPT, rejected=rejected, plain=plain, **kept)
        return Record(**base, outcome=rejected[-1] if rejected else INELIGIBLE, rejected=rejected, plain=plain)

    def _rng(self, rollouts: QueryRollouts) -> random.Random:
        return random.Random(derived_seed(self.seed, "pairs", rollouts.index))

    def _pairs(self, rollouts: QueryRollouts) -> Sequence[tuple[int, int]]:
        """Candidates in the order in which they are tried: responses that were cut off come last."""
        truncated = [reason != "stop" for reason in rollouts.finish_reasons]
        pairs = select_candidates(
            rollouts.scores,
            n_pos=self.limits.n_pos,
            n_neg=self.limits.n_neg,
            m_max=self.limits.attempts,
            rng=self._rng(rollouts),
            threshold=self.limits.threshold,
            truncated=truncated,
        )
        return sorted(pairs, key=lambda pair: truncated[pair[0]])

    def _plain(self, rollouts: QueryRollouts) -> str:
        """A correct response that ended by itself, drawn at random."""
        whole = [
            text
            for text, score, reason in zip(rollouts.responses, rollouts.scores, rollouts.finish_reasons, strict=True)
            if score > self.limits.threshold and reason == "stop"
        ]
        return random.Random(derived_seed(self.seed, "plain", rollouts.index)).choice(whole) if whole else ""

    async def _attempt(self, rollouts: QueryRollouts, pair: tuple[int, int], attempt: int) -> dict[str, Any]:
        """The fields of a kept construction.

        Raises:
            ConstructionError: the answer cannot be parsed or spliced.
            RejectedError: whatever else is wrong with it.
        """
        wrong_ids = rollouts.response_ids[pair[0]]
        wrong, correct = (rollouts.responses[i] for i in pair)
        if not wrong.strip() or not correct.strip():
            raise RejectedError("empty_response")
        try:
            messages = construction_messages(rollouts.prompt, wrong=wrong, correct=correct, template=self.template)
        except ValueError as error:
            raise RejectedError("unsupported_query") from error
        query = rollouts.prompt[-1]["content"]
        seed = derived_seed(self.seed, "construction", rollouts.index, attempt)
        try:
            answer = await self.actor.answer(Request(messages, query, wrong, correct, seed, attempt))
        except RequestDoesNotFit as error:
            raise RejectedError("does_not_fit") from error
        spliced = splice(
            wrong_ids,
            parse_construction(answer).reconstruction,
            self.tokenizer,
            max_length=self.limits.response_length,
            min_prefix_tokens=self.limits.min_prefix_tokens,
            min_prefix_share=self.limits.min_prefix_share,
            require_reflection=self.limits.require_reflection,
            wrong_text=wrong,
            end_ids=turn_end(rollouts.response_ids[pair[1]], self.tokenizer),
        )
        score = await self.scorer.score(
            response=spliced.prefix + spliced.reflection + spliced.correction, **rollouts.scoring
        )
        if not score > self.limits.threshold:
            raise RejectedError("wrong_answer")
        return {
            "request": messages,
            "answer": visible_answer(answer).strip(),
            "prefix": spliced.prefix,
            "reflection": spliced.reflection,
            "correction": spliced.correction,
            "prefix_tokens": spliced.prefix_length,
            "wrong_tokens": len(wrong_ids),
            "tokens": len(spliced.ids),
        }


class RejectedError(Exception):
    """An attempt that fails outside of parsing and splicing."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason
