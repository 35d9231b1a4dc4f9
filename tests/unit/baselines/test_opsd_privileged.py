"""Who is taught with which solution."""

import pytest

from tapo.baselines.opsd.config import PRIVILEGED_PROMPT, OpsdConfig
from tapo.baselines.opsd.privileged import NoTeacher, Rollout, privileged_messages, solution_in, solutions

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]


def rollout(session, correct, uid="u", shown=None, **fields):
    text = f"{uid}{session}"
    return Rollout(f"{uid}_{session}_0", uid, ASKED, text, correct, correct if shown is None else shown, fields)


def test_a_sibling_is_correct_of_the_same_query_and_never_the_rollout_itself():
    group = [rollout(i, correct=i in (1, 3)) for i in range(5)]
    alone = [rollout(0, True, uid="v"), rollout(1, False, uid="v"), rollout(0, False, uid="w")]
    for step in range(20):
        drawn = solutions([*group, *alone], OpsdConfig(), step)
        assert drawn[1] == "u3" and drawn[3] == "u1"
        assert {drawn[0], drawn[2], drawn[4]} <= {"u1", "u3"}
        assert drawn[5:] == [None, "v0", None]


def test_a_sibling_that_is_not_to_be_shown_is_not():
    assert solutions([rollout(0, False), rollout(1, True, shown=False)], OpsdConfig(), 1) == [None, None]


def test_draws_follow_from_seed_step_and_session_whatever_the_order_and_the_uid():
    group = [rollout(i, correct=i > 0) for i in range(6)]
    drawn = [solutions(group, OpsdConfig(seed=seed), step) for seed in (0, 1) for step in (1, 2, 3)]
    assert len({tuple(draw) for draw in drawn}) > 3
    assert solutions(group[::-1], OpsdConfig(), 1)[::-1] == drawn[0]
    others = [Rollout(f"x_{i}_0", "x", ASKED, r.text, r.correct, r.shown, {}) for i, r in enumerate(group)]
    assert solutions(others, OpsdConfig(), 1) == drawn[0]


def test_the_datasets_solution_stands_at_a_dotted_key():
    config = OpsdConfig(privileged="solution", solution_key="extra_info.solution")
    rows = [rollout(0, False, extra_info={"solution": "It is 2."}), rollout(1, True, extra_info={"solution": " "})]
    assert solutions(rows, config, 1) == ["It is 2.", None]
    assert solution_in({"a": {"b": 3}}, "a.b") is None and solution_in({"a": "x"}, "a.b") is None


def test_the_teacher_is_asked_under_the_querys_own_system_message():
    messages = privileged_messages(rollout(0, False), "It is {query}.", "{query} Known: {solution}")
    assert messages == [ASKED[0], {"role": "user", "content": "1+1? Known: It is {query}."}]
    [_, asked] = privileged_messages(rollout(0, False), "S", PRIVILEGED_PROMPT)
    assert asked["content"].startswith("1+1?\n") and "\nS\n" in asked["content"]


def test_a_query_of_several_turns_has_no_teacher():
    turns = [*ASKED, {"role": "assistant", "content": "2"}]
    with pytest.raises(NoTeacher, match="unsupported_query"):
        privileged_messages(Rollout("u_0_0", "u", turns, "t", False, False, {}), "S", PRIVILEGED_PROMPT)
