"""Constructions in every form, with an engine that answers as the form asks for."""

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from tapo.core.phrases import load_detector
from tapo.core.tokens import decode
from tapo.rollout.deadline import Deadline
from tapo.rollout.group_report import GroupReport
from tapo.rollout.worker import TapoAgentLoopWorker
from tests.stand_ins.groups import JUDGE, Engine, constructor, outcomes, publish, rollout, run, settled_group
from tests.stand_ins.texts import ANSWER, RECONSTRUCTION, RIGHT

OPENING = "<analysis>The difference is wrong.\n<quote>Step 2: 84-39=55</quote></analysis>\n<reconstruction>"
REFLECTION = "Wait, 84-39 is not 55.\n"
CORRECTION = "Step 2: 84-39=45\n\\boxed{45}"
KEPT = "Step 1: 28*3=84\nStep 2: 84-39=55\n"
CLOSE = "</reconstruction>"


def script(tokenizer, correction=CORRECTION, opening=OPENING):
    """What an actor answers to the requests of any form, told apart by where their prompts end."""

    def answer(request):
        prompt, stop = decode(tokenizer, request["prompt_ids"]), request["sampling_params"].get("stop")
        if stop == ["<reconstruction>"]:
            return opening
        if stop is None:
            return correction + tokenizer.eos_token
        if not prompt.endswith(KEPT):
            own = "End there" in prompt
            return ANSWER.replace(CORRECTION + "\n", "") if own else ANSWER
        return f"{REFLECTION}{'' if 'End there' in prompt else CORRECTION}{CLOSE}"

    return answer


def built(tokenizer, group=None, reward=1.0, engine=None, **construction):
    engine = engine or Engine(tokenizer, script(tokenizer))
    builder = constructor(tokenizer, engine, reward=reward, construction=construction)
    constructions, report = run(builder, group or settled_group(tokenizer))
    return engine, constructions, report


@pytest.mark.parametrize("copy", ["verbatim", "anchored"])
@pytest.mark.parametrize("correction", ["guided", "own"])
def test_every_form_gives_the_same_trajectory_on_the_rollouts_own_tokens(tokenizer, copy, correction):
    engine, constructions, report = built(tokenizer, copy=copy, correction=correction)
    assert outcomes(constructions) == ["trained"] * 4
    for one in constructions:
        ids, spliced = one.output.response_ids, one.attempt.spliced
        assert decode(tokenizer, ids) == RECONSTRUCTION and ids[-1] == tokenizer.eos_token_id
        assert ids[: spliced.prefix_length] == one.wrong.output.response_ids[: spliced.prefix_length]
        assert (spliced.prefix, spliced.reflection, spliced.correction) == (KEPT, REFLECTION, CORRECTION)
        assert decode(tokenizer, ids[spliced.prefix_length :][: spliced.reflection_length]) == REFLECTION
        assert one.attempt.own is (correction == "own")
    assert len(engine.requests) == 4 * (1 + (copy == "anchored") + (correction == "own"))
    assert report.anchors == (Counter(exact=4) if copy == "anchored" else Counter())
    assert (report.own, report.own_correct) == ((4, 4) if correction == "own" else (0, 0))


def test_an_anchored_answer_decodes_no_token_of_the_attempt(tokenizer):
    engine, constructions, report = built(tokenizer, copy="anchored")
    opening, rest = engine.requests[0], next(r for r in engine.requests if r["sampling_params"]["stop"] == [CLOSE])
    head = len(tokenizer.encode(OPENING, add_special_tokens=False))
    placed = constructions[0].attempt.usage.placed
    assert decode(tokenizer, constructions[0].wrong.output.response_ids[:placed]) == KEPT
    assert rest["prompt_ids"][: len(opening["prompt_ids"])] == opening["prompt_ids"]
    assert rest["prompt_ids"][-placed:] == constructions[0].wrong.output.response_ids[:placed]
    assert len(rest["prompt_ids"]) == len(opening["prompt_ids"]) + head + placed
    decoded = head + len(tokenizer.encode(REFLECTION + CORRECTION + CLOSE, add_special_tokens=False))
    assert (report.generated_tokens, report.placed_tokens) == (4 * decoded, 4 * placed)
    assert report.prompt_tokens == 4 * (len(opening["prompt_ids"]) + len(rest["prompt_ids"]))


def test_the_policy_goes_on_from_the_plain_query_as_rollouts_are_sampled(tokenizer):
    engine, constructions, _ = built(tokenizer, correction="own")
    request = next(r for r in engine.requests if "stop" not in r["sampling_params"])
    opening = constructions[0].attempt.spliced.ids
    begun = next(n for n in range(len(opening)) if decode(tokenizer, opening[:n]) == KEPT + REFLECTION)
    assert request["prompt_ids"] == [5, 6, 7, *opening[:begun]]
    sampling = {"top_p": 0.9, "temperature": 0.3, "logprobs": False, "max_tokens": 400 - begun}
    assert request["sampling_params"] == sampling


def test_each_sample_behind_a_reflection_is_a_row_of_its_own_whose_opening_is_counted_once(tokenizer):
    engine, constructions, report = built(tokenizer, correction="own", samples=3)
    assert outcomes(constructions) == ["trained"] * 12 and len(engine.requests) == 4 + 12
    assert len({one.key for one in constructions}) == 12
    assert report.funnel == dict.fromkeys(("attempted", "parsed", "spliced", "correct", "trained"), 12)
    opening = len(tokenizer.encode(ANSWER.replace(CORRECTION + "\n", ""), add_special_tokens=False))
    correction = len(tokenizer.encode(CORRECTION, add_special_tokens=False)) + 1
    assert report.generated_tokens == 4 * opening + 12 * correction


def test_what_the_actor_writes_behind_its_reflection_is_left_out_where_the_policy_corrects(tokenizer):
    engine = Engine(tokenizer, lambda request: ANSWER if "stop" in request["sampling_params"] else "\\boxed{7}")
    _, constructions, _ = built(tokenizer, engine=engine, correction="own")
    assert decode(tokenizer, constructions[0].output.response_ids) == f"{KEPT}{REFLECTION}\\boxed{{7}}"


def test_a_reflection_that_gives_the_answer_is_a_leak_where_the_policy_corrects(tokenizer):
    told = ANSWER.replace(REFLECTION, "Wait, 84-39 is not 55, so it is \\boxed{45}.\n")
    _, constructions, _ = built(tokenizer, engine=Engine(tokenizer, told), correction="own")
    assert outcomes(constructions) == ["leak"] * 4


@pytest.mark.parametrize(
    ("quote", "outcome"), [("84-39=54 or so", "no_anchor"), ("Step", "ambiguous_anchor"), ("", "no_anchor")]
)
def test_a_quote_that_means_no_passage_drops_the_candidate_before_anything_more_is_decoded(tokenizer, quote, outcome):
    opening = OPENING.replace("Step 2: 84-39=55", quote)
    engine = Engine(tokenizer, script(tokenizer, opening=opening))
    _, constructions, report = built(tokenizer, engine=engine, copy="anchored")
    assert outcomes(constructions) == [outcome] * 4 and len(engine.requests) == 4
    assert constructions[0].attempt.answer == opening and report.placed_tokens == 0


@pytest.mark.parametrize("reflecting", [True, False])
def test_a_group_in_which_a_reflecting_rollout_is_right_corrects_by_itself_where_both_are_mixed(tokenizer, reflecting):
    group = settled_group(tokenizer)
    group.reflects_rightly = reflecting
    _, constructions, report = built(tokenizer, group, correction="mixed")
    assert outcomes(constructions) == ["trained"] * 4
    assert {one.attempt.own for one in constructions} == {reflecting} and report.own == 4 * reflecting


@pytest.mark.parametrize(
    ("text", "reward", "told"), [(RECONSTRUCTION, 1.0, True), (RECONSTRUCTION, 0.0, False), (RIGHT, 1.0, False)]
)
def test_a_group_reflects_rightly_where_one_rollout_is_both_reflecting_and_correct(tokenizer, text, reward, told):
    group = settled_group(tokenizer, n_wrong=1, n_right=0)
    group.add(1, rollout(tokenizer, text, reward), {"uid": "uid"})
    worker = SimpleNamespace(tokenizer=tokenizer, _detector=load_detector(), _judge=JUDGE)
    TapoAgentLoopWorker._look_at(worker, group, GroupReport())
    assert group.reflects_rightly is told


def test_an_engine_without_stop_strings_is_asked_piece_by_piece(tokenizer):
    def rest_of_answer(request):
        begun = decode(tokenizer, request["prompt_ids"]).rpartition("assistant: ")[2]
        assert "stop" not in request["sampling_params"] and ANSWER.startswith(begun)
        return ANSWER[len(begun) :]

    engine = Engine(tokenizer, rest_of_answer)
    builder = constructor(tokenizer, engine, construction={"slice_tokens": 16})
    builder.stops_at_text = False
    constructions, _ = run(builder, settled_group(tokenizer))
    assert outcomes(constructions) == ["trained"] * 4
    tokens = len(tokenizer.encode(ANSWER, add_special_tokens=False))
    assert constructions[0].attempt.usage.decoded == tokens and len(engine.requests) == 4 * -(-tokens // 16)
    assert max(request["sampling_params"]["max_tokens"] for request in engine.requests) == 16


def test_what_is_under_way_at_the_deadline_is_given_up_and_what_is_done_stays(tokenizer):
    engine = Engine(tokenizer)
    builder = constructor(tokenizer, engine, construction={"deadline": 0.2, "timeout_s": 60.0})
    hangs = Engine(tokenizer, None)

    async def generate(**request):
        return await (hangs if len(engine.requests) == 2 else engine).generate(**request)

    async def construct():
        builder.deadline.begin()
        builder.deadline.settle()
        return await asyncio.gather(
            *(builder.construct(group, *pair, j, publish) for j, pair in enumerate(builder.candidates(group, 7)))
        )

    builder.generate, builder.deadline, group = generate, Deadline(0.2), settled_group(tokenizer)
    assert [outcomes(built) for built in asyncio.run(construct())] == [["trained"]] * 2 + [["deadline"]] * 2
    assert len(hangs.requests) == 2


def test_failed_corrections_of_the_policy_are_negatives_and_tell_what_a_reflection_is_worth(tokenizer):
    _, constructions, report = built(tokenizer, reward=0.0, correction="own")
    assert outcomes(constructions) == ["trained"] * 4 and (report.own, report.own_correct) == (4, 0)
