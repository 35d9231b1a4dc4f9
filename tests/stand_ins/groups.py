"""Settled groups of rollouts, and a constructor over a scripted engine in place of the actor."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from tapo.config import TapoConfig
from tapo.core.asking import TokenBudget
from tapo.records import ConstructionRecord
from tapo.rollout.construction import GroupConstructor
from tapo.rollout.group import Group, Judge
from tapo.rollout.group_report import GroupReport
from tests.stand_ins.texts import ANSWER, QUERY, RIGHT, WRONG

JUDGE = Judge(reward_threshold=0.5, correct_key=None, response_length=400, end_ids=frozenset({0}))
BY_ACC = replace(JUDGE, correct_key="acc")


def rollout(tokenizer, text, reward, acc=0):
    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    return AgentLoopOutput(
        prompt_ids=[5, 6, 7],
        response_ids=ids,
        response_mask=[1] * len(ids),
        response_logprobs=[-0.5] * len(ids),
        reward_score=reward,
        num_turns=2,
        metrics=AgentLoopMetrics(),
        extra_fields={
            "min_global_steps": 3,
            "max_global_steps": 3,
            "turn_scores": [],
            "reward_extra_info": {"acc": acc},
        },
    )


def settled_group(tokenizer, n_wrong=4, n_right=2, wrong=WRONG, query=QUERY, judge=JUDGE):
    group = Group("uid", n_wrong + n_right, {"top_p": 0.9, "temperature": 0.3, "logprobs": True}, judge)
    outputs = [rollout(tokenizer, wrong, 0.0)] * n_wrong + [rollout(tokenizer, RIGHT, 1.0)] * n_right
    for session, output in enumerate(outputs):
        group.add(session, output.model_copy(), {"raw_prompt": query, "uid": "uid"})
    return group


class Engine:
    """Answers as scripted, always the same or as a function of the request, and remembers what it was asked."""

    def __init__(self, tokenizer, answer=ANSWER):
        self.tokenizer, self.answer, self.requests = tokenizer, answer, []

    async def generate(self, **request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.sleep(3600)
        answer = self.answer(request) if callable(self.answer) else self.answer
        ids = self.tokenizer.encode(answer, add_special_tokens=False)[: request["sampling_params"]["max_tokens"]]
        return SimpleNamespace(token_ids=ids, extra_fields={"global_steps": 4, "min_global_steps": 4})


def constructor(tokenizer, engine, reward=1.0, acc=True, max_model_len=4096, **options):
    async def score(output, fields):
        output.reward_score = reward
        output.extra_fields["reward_extra_info"] = {"acc": acc}

    return GroupConstructor(
        TapoConfig.from_mapping({"construction": {"timeout_s": 60.0}, **options}),
        tokenizer,
        generate=engine.generate,
        score=score,
        budget=TokenBudget(response_length=400, max_model_len=max_model_len, answer=300),
        chat_template_kwargs={},
    )


async def publish(construction):
    assert construction.output.reward_score is not None


def run(builder, group, publish=publish):
    """(constructions, report) of all the group's candidates."""

    async def construct():
        pairs, samples = builder.candidates(group, step=7), builder.config.construction.samples
        work = (builder.construct(group, *pair, j * samples, publish) for j, pair in enumerate(pairs))
        return [construction for several in await asyncio.gather(*work) for construction in several]

    constructions, report = asyncio.run(construct()), GroupReport()
    for construction in constructions:
        origin = {"step": 7, "uid": "uid", "key": construction.key, "keep_prefix": builder.config.keep_prefix}
        report.count(ConstructionRecord.of(construction.attempt, **origin), closed=construction.attempt.closed)
    return constructions, report


def outcomes(constructions):
    return [construction.attempt.outcome for construction in constructions]
