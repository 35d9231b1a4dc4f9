"""Rollouts to build a cold start from, and actors that answer as scripted."""

import asyncio
from types import SimpleNamespace

from tapo.cold_start.construct import ConstructionTask
from tapo.cold_start.options import Limits
from tapo.core.asking import Answer
from tapo.core.prompts import CONSTRUCTION_PROMPT
from tapo.data.rollout_store import QueryRollouts
from tapo.generation.scoring import Scorer
from tests.stand_ins.texts import QUERY, RIGHT, WRONG

TEACHER = "def answer(query, wrong, correct, seed):\n    return {answer!r}\n"
"""The file of an actor of the user's own."""


def rollouts(tokenizer, index="a", texts=(WRONG, RIGHT, WRONG), scores=(0.0, 1.0, 0.0), reasons=None):
    ids = [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for text in texts]
    reasons = list(reasons or ["stop"] * len(texts))
    return QueryRollouts(index, "test", QUERY, "45", list(texts), ids, reasons, list(scores))


class Script:
    """Answers in the order given, the last one for ever."""

    def __init__(self, *answers, repeats=True):
        self.answers, self.repeats, self.requests = list(answers), repeats, []

    async def ask(self, attempt, messages, seed):
        self.requests.append(SimpleNamespace(messages=messages, candidate=attempt.candidate, seed=seed))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        attempt.usage.decoded += len(answer)
        return Answer(answer)


def construct(tokenizer, actor, row, **limits):
    task = ConstructionTask(actor, Scorer(), tokenizer, CONSTRUCTION_PROMPT, Limits(**limits), seed=3)
    return asyncio.run(task(row))
