"""A group's constructions, with a scripted engine in place of the actor."""

import copy
import math
from dataclasses import replace

import pytest

from tapo.rollout.group import Group
from tapo.rollout.group_report import GroupReport
from tests.stand_ins.groups import (
    BY_ACC,
    JUDGE,
    Engine,
    constructor,
    outcomes,
    rollout,
    run,
    settled_group,
)
from tests.stand_ins.texts import ANSWER, QUERY, RECONSTRUCTION, RIGHT, SILENT, WRONG


def test_a_good_answer_becomes_a_row_with_the_fields_of_its_source(tokenizer):
    engine = Engine(tokenizer)
    built, report = run(constructor(tokenizer, engine), settled_group(tokenizer))
    assert outcomes(built) == ["trained"] * 4
    assert report.funnel == {"attempted": 4, "parsed": 4, "spliced": 4, "correct": 4, "trained": 4}
    assert not report.rejected
    output, source = built[0].output, built[0].wrong.output
    assert tokenizer.decode(output.response_ids, skip_special_tokens=True) == RECONSTRUCTION
    assert output.model_fields_set == source.model_fields_set
    assert output.prompt_ids == source.prompt_ids
    assert output.response_mask == [1] * len(output.response_ids)
    assert output.response_logprobs == [0.0] * len(output.response_ids)
    assert output.extra_fields["min_global_steps"] == 4 and output.extra_fields["max_global_steps"] == 3
    assert source.reward_score == 0.0 and source.extra_fields["reward_extra_info"] == {"acc": 0}


def test_an_extra_correct_row_is_the_sibling_as_it_is_and_asks_for_nothing(tokenizer):
    engine, group = Engine(tokenizer), settled_group(tokenizer)
    built, report = run(constructor(tokenizer, engine, reward=0.0, reconstruction="extra_correct"), group)
    assert outcomes(built) == ["trained"] * 4 and engine.requests == []
    assert report.funnel == dict.fromkeys(("attempted", "parsed", "spliced", "correct", "trained"), 4)
    assert (report.generated_tokens, report.prefix_fraction_sum, report.without_reflection) == (0, 0, 0)
    for one in built:
        sibling = one.correct.output
        assert one.output == sibling and one.output is not sibling
        assert one.output.reward_score == 1.0 and one.output.response_logprobs == sibling.response_logprobs
        assert one.output.extra_fields is not sibling.extra_fields
        assert one.key.startswith("uid_ref_") and one.attempt.spliced.ids == sibling.response_ids


def test_an_extra_correct_row_stands_for_the_pair_that_a_construction_would_be_built_from(tokenizer):
    pairs = []
    for kind in ("micro_reflective", "extra_correct"):
        candidates = constructor(tokenizer, Engine(tokenizer), reconstruction=kind).candidates(
            settled_group(tokenizer), step=7
        )
        pairs.append([(wrong.session_id, correct.session_id) for wrong, correct in candidates])
    assert pairs[0] == pairs[1] and len(pairs[0]) == 4


def test_a_trajectory_ends_as_its_correct_sibling_did(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    group = settled_group(tokenizer)
    for settled in group.rollouts:
        if settled.output.reward_score == 1.0:
            settled.output.response_ids[-1] = end
    built, _ = run(constructor(tokenizer, Engine(tokenizer)), group)
    assert {one.output.response_ids[-1] for one in built} == {end}


def test_a_correction_without_a_reflection_is_counted_and_dropped_only_where_one_is_required(tokenizer):
    built, report = run(constructor(tokenizer, Engine(tokenizer, SILENT)), settled_group(tokenizer))
    assert outcomes(built) == ["trained"] * 4 and report.without_reflection == 4
    required = {"require_reflection": True, "timeout_s": 60.0}
    _, report = run(constructor(tokenizer, Engine(tokenizer, SILENT), construction=required), settled_group(tokenizer))
    assert report.rejected == {"no_reflection": 4} and report.without_reflection == 0
    _, report = run(constructor(tokenizer, Engine(tokenizer)), settled_group(tokenizer))
    assert report.without_reflection == 0


def test_an_answer_without_its_last_tag_is_read_and_counted_where_the_actor_ended_it(tokenizer):
    unclosed = ANSWER.partition("</reconstruction>")[0]
    ended = unclosed.rstrip() + tokenizer.eos_token
    built, report = run(constructor(tokenizer, Engine(tokenizer, ended)), settled_group(tokenizer))
    assert outcomes(built) == ["trained"] * 4 and report.unclosed == 4
    assert tokenizer.decode(built[0].output.response_ids, skip_special_tokens=True) == RECONSTRUCTION
    _, report = run(constructor(tokenizer, Engine(tokenizer, unclosed)), settled_group(tokenizer))
    assert report.rejected == {"bad_format": 4} and report.unclosed == 0


def test_an_answer_that_starts_over_keeps_too_little(tokenizer):
    over = "<analysis>a</analysis><reconstruction>Subtracting 39 from 84 leaves 45. \\boxed{45}</reconstruction>"
    _, report = run(constructor(tokenizer, Engine(tokenizer, over)), settled_group(tokenizer))
    assert report.rejected == {"prefix_too_short": 4}


def test_thinking_is_read_over_and_said_once(tokenizer, caplog):
    engine = Engine(tokenizer, f"<think>I write <analysis> and <reconstruction>.</think>{ANSWER}")
    builder = constructor(tokenizer, engine)
    for _ in range(2):
        built, _ = run(builder, settled_group(tokenizer))
        assert outcomes(built) == ["trained"] * 4
    assert [record.message for record in caplog.records if "thinks before" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 1


def test_the_request_is_token_ids_with_an_explicit_limit_at_the_configured_temperature(tokenizer):
    engine = Engine(tokenizer)
    run(constructor(tokenizer, engine), settled_group(tokenizer))
    request = engine.requests[0]
    stop = {"stop": ["</reconstruction>"], "include_stop_str_in_output": True}
    sampling = {"top_p": 0.9, "temperature": 1.0, "logprobs": False, "max_tokens": 300}
    assert request["sampling_params"] == sampling | stop
    prompt = tokenizer.decode(request["prompt_ids"])
    assert "28*3-39?" in prompt and WRONG in prompt and RIGHT in prompt and prompt.endswith("assistant: ")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("no tags at all", "bad_format"),
        (ANSWER.replace("28*3", "28 x 3"), "not_verbatim"),
        (f"<analysis>a</analysis><reconstruction>{WRONG}</reconstruction>", "splice_at_end"),
        (ANSWER.replace("Wait,", "The reference solution says that"), "leak"),
        (RuntimeError("engine died"), "error"),
        (None, "timeout"),
    ],
)
def test_whatever_goes_wrong_is_dropped_and_counted_under_its_reason(tokenizer, answer, outcome):
    options = {"construction": {"timeout_s": 0.5}} if outcome == "timeout" else {}
    built, report = run(constructor(tokenizer, Engine(tokenizer, answer), **options), settled_group(tokenizer))
    assert outcomes(built) == [outcome] * 4
    assert report.rejected == {outcome: 4}
    assert report.funnel["correct"] == 0 and report.funnel["attempted"] == 4


def test_a_row_that_cannot_be_published_is_dropped_alone(tokenizer):
    async def fails_once(construction):
        if construction.key == "uid_ref_1_0":
            raise ConnectionError("no storage")

    built, report = run(constructor(tokenizer, Engine(tokenizer)), settled_group(tokenizer), fails_once)
    assert outcomes(built) == ["trained", "error", "trained", "trained"]
    assert report.rejected == {"error": 1} and report.funnel["correct"] == 4 and report.funnel["trained"] == 3


def test_an_answer_gets_what_room_the_engine_has_and_a_prompt_without_any_is_never_sent(tokenizer):
    engine = Engine(tokenizer)
    run(constructor(tokenizer, engine), settled_group(tokenizer))
    prompt = len(engine.requests[0]["prompt_ids"])
    sibling = len(rollout(tokenizer, RIGHT, 1.0).response_ids)
    for room, sent in ((sibling, 4), (sibling - 1, 0)):
        engine = Engine(tokenizer)
        _, report = run(constructor(tokenizer, engine, max_model_len=prompt + room), settled_group(tokenizer))
        assert len(engine.requests) == sent
        assert report.rejected["does_not_fit"] == 4 - sent
        assert {request["sampling_params"]["max_tokens"] for request in engine.requests} <= {sibling}


def test_an_empty_response_and_a_query_of_several_turns_are_counted_skips(tokenizer):
    _, report = run(constructor(tokenizer, Engine(tokenizer)), settled_group(tokenizer, wrong=" "))
    assert report.rejected == {"empty_response": 4}
    turns = [*QUERY, {"role": "assistant", "content": "a"}, *QUERY]
    _, report = run(constructor(tokenizer, Engine(tokenizer)), settled_group(tokenizer, query=turns))
    assert report.rejected == {"unsupported_query": 4}


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("acc", [True, False])
def test_a_reward_that_is_no_finite_number_is_rejected_and_counted(tokenizer, reward, acc):
    builder = constructor(tokenizer, Engine(tokenizer), reward=reward, acc=acc)
    built, report = run(builder, settled_group(tokenizer))
    assert outcomes(built) == ["no_reward"] * 4 and report.rejected == {"no_reward": 4}
    assert report.funnel["spliced"] == 4 and report.funnel["correct"] == 0


@pytest.mark.parametrize(
    ("contrast", "outcome"), [("source", "trained"), ("failed", "trained"), ("none", "wrong_answer")]
)
def test_failed_constructions_are_trained_as_negatives_unless_contrast_is_none(tokenizer, contrast, outcome):
    builder = constructor(tokenizer, Engine(tokenizer), reward=0.0, contrast=contrast)
    built, report = run(builder, settled_group(tokenizer))
    assert outcomes(built) == [outcome] * 4
    assert report.funnel["correct"] == 0


@pytest.mark.parametrize(
    ("action", "outcome", "kind"),
    [
        ("count", "trained", "micro_reflective"),
        ("drop", "check", "micro_reflective"),
        ("drop", "check", "extra_correct"),
    ],
)
def test_what_the_check_objects_to_is_counted_and_dropped_only_where_it_is_asked_to(tokenizer, action, outcome, kind):
    async def check(attempt):
        return "false_step"

    options = {"construction": {"timeout_s": 60.0, "check_action": action}, "reconstruction": kind}
    builder = replace(constructor(tokenizer, Engine(tokenizer), **options), check=check)
    built, report = run(builder, settled_group(tokenizer))
    assert outcomes(built) == [outcome] * 4 and report.checks == report.correct_checks == {"false_step": 4}
    assert report.funnel["correct"] == 4 and report.rejected["check"] == (4 if action == "drop" else 0)


def test_the_full_reconstruction_goes_through_the_same_code(tokenizer):
    engine = Engine(tokenizer, f"<analysis>a</analysis><reconstruction>{RIGHT}</reconstruction>")
    builder = constructor(tokenizer, engine, reconstruction="full")
    built, _ = run(builder, settled_group(tokenizer))
    assert built[0].attempt.spliced.prefix_length == 0 and built[0].attempt.spliced.text == RIGHT


def test_a_rerun_picks_the_same_whatever_order_sessions_settle_in(tokenizer):
    builder = constructor(tokenizer, Engine(tokenizer))
    group, again = settled_group(tokenizer, n_wrong=6), settled_group(tokenizer, n_wrong=6)
    again.rollouts.reverse()

    def chosen(group, step):
        return [(wrong.session_id, right.session_id) for wrong, right in builder.candidates(group, step)]

    assert chosen(group, 7) == chosen(again, 7)
    assert len({tuple(chosen(group, step)) for step in range(20)}) > 5


def test_an_ineligible_group_is_left_alone(tokenizer):
    builder = constructor(tokenizer, Engine(tokenizer))
    assert builder.candidates(settled_group(tokenizer, n_wrong=3, n_right=5), 1) == []
    assert builder.candidates(Group("uid", 8, {}, JUDGE), 1) == []


def test_a_group_says_when_its_last_session_has_settled_and_why_it_is_unsupported(tokenizer):
    group = Group("uid", 3, {}, JUDGE)
    assert [group.settle() for _ in range(3)] == [False, False, True]
    output = rollout(tokenizer, WRONG, 0.0)
    for outputs, why in (
        ([output, output], "multi_output"),
        (output.model_copy(update={"response_mask": [1, 0]}), "multi_turn"),
        (output.model_copy(update={"multi_modal_data": {"images": [1]}}), "multi_modal"),
        (output.model_copy(update={"reward_score": float("nan")}), "no_reward"),
        (output.model_copy(update={"reward_score": -math.inf}), "no_reward"),
    ):
        group = Group("uid", 3, {}, JUDGE)
        group.add(0, outputs, {})
        assert group.left_alone == {why: 1} and group.rollouts == []
        assert group.first_session == 0


def test_a_session_that_is_left_alone_keeps_its_siblings_from_nothing(tokenizer):
    group = settled_group(tokenizer)
    output = rollout(tokenizer, WRONG, 0.0)
    group.add(6, [output, output], {})
    built, _ = run(constructor(tokenizer, Engine(tokenizer)), group)
    assert outcomes(built) == ["trained"] * 4 and group.left_alone == {"multi_output": 1}


def test_with_a_correct_key_correctness_is_its_value_and_not_the_reward(tokenizer):
    group = Group("uid", 2, {}, BY_ACC)
    group.add(0, rollout(tokenizer, WRONG, 0.9, acc=False), {"raw_prompt": QUERY})
    group.add(1, rollout(tokenizer, RIGHT, 0.3, acc=True), {"raw_prompt": QUERY})
    builder = constructor(tokenizer, Engine(tokenizer), correct_key="acc")
    [(wrong, correct)] = builder.candidates(group, step=1)
    assert (wrong.session_id, correct.session_id) == (0, 1)


@pytest.mark.parametrize(("acc", "outcome", "is_correct"), [(1.0, "trained", True), (0.0, "wrong_answer", False)])
def test_constructed_rows_are_judged_by_the_correct_key_too(tokenizer, acc, outcome, is_correct):
    group = Group("uid", 2, {}, BY_ACC)
    group.add(0, rollout(tokenizer, WRONG, 0.9, acc=0), {"raw_prompt": QUERY})
    group.add(1, rollout(tokenizer, RIGHT, 0.3, acc=1), {"raw_prompt": QUERY})
    builder = constructor(tokenizer, Engine(tokenizer), reward=0.1, acc=acc, correct_key="acc", contrast="none")
    [built], report = run(builder, group)
    assert (built.attempt.outcome, built.attempt.is_correct) == (outcome, is_correct)
    assert report.funnel["correct"] == int(is_correct)
    assert built.output.reward_score == 0.1


def test_a_session_without_the_correct_key_says_what_its_reward_holds(tokenizer):
    group = Group("uid", 2, {}, replace(JUDGE, correct_key="accuracy"))
    group.add(0, rollout(tokenizer, WRONG, 0.0), {})
    assert group.left_alone == {"lacks correct_key 'accuracy': the reward's extra info has acc": 1}
    group = Group("uid", 2, {}, BY_ACC)
    group.add(0, rollout(tokenizer, WRONG, 0.0, acc="no"), {})
    assert group.left_alone == {"acc = 'no'": 1}


def test_a_response_is_cut_off_when_it_fills_its_length_without_an_end(tokenizer):
    output = rollout(tokenizer, WRONG, 0.0)
    length = len(output.response_ids)
    assert not replace(JUDGE, response_length=length).is_truncated(output)
    output.response_ids = output.response_ids[:-1]
    assert replace(JUDGE, response_length=length - 1).is_truncated(output)
    assert not replace(JUDGE, response_length=length).is_truncated(output)


def test_reports_add_up_and_survive_their_tag(tokenizer):
    _, report = run(constructor(tokenizer, Engine(tokenizer)), settled_group(tokenizer))
    total = GroupReport.total_of([GroupReport.from_tag(report.to_tag()), report])
    assert total.total == 2 and total.funnel["correct"] == 8
    assert GroupReport.total_of([]).total == 0
