"""TAPO's own constructions, in every form, out of what the simulated engine answers."""

import asyncio
from types import SimpleNamespace

import pytest
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from benchmarks.at_scale import texts
from benchmarks.at_scale.answers import Author
from benchmarks.at_scale.options import Policy
from benchmarks.at_scale.settings import templates
from benchmarks.at_scale.task import compute_score, tokenizer
from tapo.chat import prompt_ids
from tapo.config import TapoConfig
from tapo.core.asking import TokenBudget
from tapo.core.tokens import decode
from tapo.rollout.construction import GroupConstructor
from tapo.rollout.group import Group, Judge

LENGTH, N = 2000, 8
SURE = Policy(median_share=0.15, bad_answers=0.0, guided_accuracy=1.0, own_accuracy=1.0)


@pytest.fixture(scope="module")
def words():
    return tokenizer(seed=0)


class Run:
    """A group of rollouts, their constructions, and what the engine was asked for these."""

    def __init__(self, words, **construction):
        self.words, self.query, self.requests = words, "", []
        config = TapoConfig.from_mapping({"construction": construction, "n_pos": 1, "n_neg": 1})
        self.author = Author(words, templates(config), SURE, LENGTH, seed=1)
        self.builder = GroupConstructor(
            config,
            words,
            generate=self.generate,
            score=self.score,
            budget=TokenBudget(response_length=LENGTH, max_model_len=20_000, answer=LENGTH + 1000),
            chat_template_kwargs={},
        )

    async def generate(self, *, request_id, prompt_ids, sampling_params):
        self.requests.append(sampling_params)
        return SimpleNamespace(token_ids=self.author.answer(prompt_ids, sampling_params).ids, extra_fields={})

    async def score(self, output, fields):
        output.reward_score = compute_score("", decode(self.words, output.response_ids), self.answer, {})

    @property
    def answer(self):
        return texts.solution(self.query)

    def eligible(self):
        """(a group, its pairs) of the first query whose rollouts are mixed."""
        for number in range(50):
            self.query = texts.query(number, seed=0)
            group = self.group()
            if len(pairs := self.builder.candidates(group, step=1)) == 4:
                return group, pairs
        raise AssertionError("no query is answered rightly and wrongly")

    def group(self):
        messages = [{"role": "user", "content": self.query}]
        ids = prompt_ids(messages, self.words, {})
        judge = Judge(0.5, None, LENGTH, frozenset({self.words.eos_token_id}))
        group = Group("uid", N, {"temperature": 1.0}, judge)
        for session in range(N):
            response = self.author.answer(ids, {}).ids
            output = AgentLoopOutput(
                prompt_ids=ids,
                response_ids=response,
                response_mask=[1] * len(response),
                reward_score=compute_score("", decode(self.words, response), self.answer, {}),
                metrics=AgentLoopMetrics(),
            )
            group.add(session, output, {"raw_prompt": messages, "uid": "uid"})
        return group

    async def construct(self):
        group, pairs = self.eligible()

        async def publish(construction):
            pass

        several = await asyncio.gather(*(self.builder.construct(group, *pair, N, publish) for pair in pairs))
        return [one for of_pair in several for one in of_pair]


@pytest.mark.parametrize("slice_tokens", [None, 64])
@pytest.mark.parametrize("correction", ["guided", "own"])
@pytest.mark.parametrize("copy", ["verbatim", "anchored"])
def test_every_form_is_trained_and_right(words, copy, correction, slice_tokens):
    run = Run(words, copy=copy, correction=correction, slice_tokens=slice_tokens)
    constructions = asyncio.run(run.construct())
    assert constructions and [one.attempt.outcome for one in constructions] == ["trained"] * len(constructions)
    for one in constructions:
        error = texts.find_error(one.attempt.candidate.wrong.text)
        assert one.attempt.spliced.prefix == one.attempt.candidate.wrong.text[: error.end + 1]
        assert one.attempt.spliced.reflection == error.notice + "\n"
        assert one.attempt.is_correct and one.attempt.own is (correction == "own")
        assert one.output.response_ids[-1] == words.eos_token_id
    if slice_tokens is None:
        assert len(run.requests) == len(constructions) * (1 + (copy == "anchored") + (correction == "own"))


def test_an_anchored_construction_decodes_less_by_the_copied_prefix(words):
    found = {}
    for copy in ("verbatim", "anchored"):
        constructions = asyncio.run(Run(words, copy=copy).construct())
        found[copy] = constructions[0].attempt.usage
    assert found["verbatim"].placed == 0 < found["anchored"].placed
    assert found["verbatim"].decoded - found["anchored"].decoded > 0.5 * found["anchored"].placed


def test_several_corrections_of_ones_own_differ(words):
    constructions = asyncio.run(Run(words, copy="anchored", correction="own", samples=3).construct())
    of_first = [one for one in constructions if one.wrong is constructions[0].wrong]
    assert len({one.attempt.spliced.correction for one in of_first}) == len(of_first) == 3
