"""Corrective trajectories from scored rollouts: at most one a query, by the method's own core."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tapo.cold_start.answering import Actor
from tapo.cold_start.options import Limits
from tapo.cold_start.store import QueryConstructions, outcome_of
from tapo.config import SpliceOptions
from tapo.core.asking import Answer
from tapo.core.attempt import Attempt, Candidate, Response
from tapo.core.construct import CheckSpliced, Constructor, Verdict
from tapo.core.form import PAPER_FORM, Form
from tapo.core.funnel import TRAINED, ConstructionError
from tapo.core.reconstruction import Spliced
from tapo.core.selection import select_candidates
from tapo.data.rollout_store import QueryRollouts
from tapo.generation.engine import derived_seed
from tapo.generation.scoring import Scorer
from tapo.records import ConstructionRecord


@dataclass(frozen=True)
class ConstructionTask:
    """How the rollouts of a query become `QueryConstructions`."""

    actor: Actor
    scorer: Scorer
    tokenizer: Any
    template: str
    limits: Limits
    seed: int
    form: Form = PAPER_FORM
    """What the template asks for."""
    check: CheckSpliced | None = None
    drop_objected: bool = False

    async def __call__(self, rollouts: QueryRollouts) -> QueryConstructions:
        """Try wrong rollouts in turns until one attempt is good."""
        pairs = self._pairs(rollouts)
        tries = self.limits.attempts if self.actor.repeats else len(pairs)
        attempts: list[ConstructionRecord] = []
        for number in range(tries if pairs else 0):
            attempt = await self._attempt(rollouts, pairs[number % len(pairs)], number)
            key = f"{rollouts.index}/{number}"
            attempts.append(ConstructionRecord.of(attempt, step=0, uid=rollouts.index, key=key))
            if attempt.outcome == TRAINED:
                break
        return QueryConstructions(
            index=rollouts.index,
            data_source=rollouts.data_source,
            prompt=list(rollouts.prompt),
            outcome=outcome_of(attempts),
            plain=self._plain(rollouts),
            attempts=attempts,
        )

    def _pairs(self, rollouts: QueryRollouts) -> Sequence[tuple[int, int]]:
        """Candidates in the order in which they are tried: responses that were cut off come last."""
        truncated = [reason != "stop" for reason in rollouts.finish_reasons]
        pairs = select_candidates(
            rollouts.scores,
            n_pos=self.limits.n_pos,
            n_neg=self.limits.n_neg,
            m_max=self.limits.attempts,
            rng=random.Random(derived_seed(self.seed, "pairs", rollouts.index)),
            threshold=self.limits.reward_threshold,
            truncated=truncated,
        )
        return sorted(pairs, key=lambda pair: truncated[pair[0]])

    def _plain(self, rollouts: QueryRollouts) -> str:
        """A correct response that ended by itself, drawn at random."""
        whole = [
            text
            for text, score, reason in zip(rollouts.responses, rollouts.scores, rollouts.finish_reasons, strict=True)
            if score > self.limits.reward_threshold and reason == "stop"
        ]
        return random.Random(derived_seed(self.seed, "plain", rollouts.index)).choice(whole) if whole else ""

    async def _attempt(self, rollouts: QueryRollouts, pair: tuple[int, int], number: int) -> Attempt:
        ids, texts, scores = rollouts.response_ids, rollouts.responses, rollouts.scores
        wrong, correct = (Response(i, ids[i], texts[i], scores[i]) for i in pair)
        candidate = Candidate(rollouts.prompt, wrong, correct)
        seed = derived_seed(self.seed, "construction", rollouts.index, number)

        async def ask(attempt: Attempt, messages: list[dict[str, str]]) -> Answer:
            return await self.actor.ask(attempt, messages, seed)

        async def go_on(attempt: Attempt) -> Sequence[int]:
            return await self.actor.go_on(attempt, seed)

        async def score(spliced: Spliced) -> Verdict:
            reward = await self.scorer.score(response=spliced.text, **rollouts.scoring)
            return Verdict(reward, reward > self.limits.reward_threshold)

        attempt = Attempt(candidate)
        try:
            await self._constructor.open(attempt, ask)
            await self._constructor.finish(attempt, go_on, score)
        except ConstructionError as error:
            attempt.outcome = error.reason
        else:
            attempt.keep()
        return attempt

    @property
    def _constructor(self) -> Constructor:
        splicing = {"max_length": self.limits.response_length, **self.limits.part(SpliceOptions)}
        return Constructor(
            self.tokenizer,
            self.template,
            splicing,
            keep_failed=False,
            form=self.form,
            check=self.check,
            drop_objected=self.drop_objected,
        )
