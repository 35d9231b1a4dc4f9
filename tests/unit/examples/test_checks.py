"""What the examples' rules object to in a text whose answer may be right."""

import pytest

from examples.common import check as common_check
from examples.common.reward import compute_score
from examples.common.task import load_task
from examples.roads.problem import parse_query
from tests.stand_ins.examples import EXAMPLES

ARITHMETIC, ROADS = (load_task(EXAMPLES / name) for name in ("arithmetic", "roads"))
QUERY = "Start with 28. Multiply by 3. Subtract 39. Add 5. Add 8. What is the result?"
ONE, TWO, BAD, REST = (
    "Step 1: 28*3=84\n",
    "Step 2: 84-39=45\n",
    "Step 2: 84-39=55\n",
    "Step 3: 45+5=50\nStep 4: 50+8=58\n\\boxed{58}",
)
CAUGHT = "Wait, 84-39 is not 55.\n"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (ONE + TWO + REST, ""),
        (ONE + BAD + CAUGHT + TWO + REST, ""),
        # A wrong step that a later reflection goes back to, with all that was built on it.
        (ONE + BAD + "Step 3: 55+5=60\nWait, step 2 is 84-39.\n" + TWO + REST, ""),
        # What it denies is taken back even where the step is not stated again.
        (ONE + BAD + CAUGHT + REST, ""),
        ("", ""),
        # The answer is right, and the step above it is not.
        (ONE + BAD + REST, "false_step"),
        (ONE + BAD + "Step 3: 55+5=60\nWait, 55+5 is not 60.\n" + REST, "false_step"),
        (ONE + BAD + CAUGHT + "Step 2: 84-39=44\n" + REST, "false_step"),
        (ONE + "Step 2: 84-39\n" + REST, "false_step"),
        (ONE + TWO + "Step 3: 45+5=50\nStep 4: 50+8=58\n\\boxed{59}", "false_step"),
        (ONE + "Wait, 28*3 is not 84.\n" + ONE + TWO + REST, "took_back_right"),
        (ONE + TWO + "Wait, 84-39 is not 45.\n" + REST, "took_back_right"),
        (ONE + BAD + "Wait, step 1 is 28*3.\n" + ONE + TWO + REST, "took_back_right"),
        (ONE + "Wait, 28*3 is not 84.\n" + ONE + BAD + REST, "false_step"),
    ],
)
def test_arithmetic_objects_to_a_false_step_that_stands_and_to_a_right_one_taken_back(text, label):
    assert ARITHMETIC.faithful(QUERY, text) == label


MAP = "Roads: 6>5 0>4 8>2 6>8 3>9 5>0 6>3 2>7 9>1. From 6 to 7. First stop?"
WRONG, RIGHT = "Try 6 5 0 4. End 4 is not 7.\n", "Try 6 8 2 7. End 7 is 7.\n\\boxed{8}"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (RIGHT, ""),
        (WRONG + "Wait, 5 is wrong.\n" + RIGHT, ""),
        # Misread, and taken back with its road.
        ("Try 6 5 0 9. End 9 is not 7.\nWait, 5 is wrong.\n" + RIGHT, ""),
        ("\\boxed{8}", ""),
        ("Try 6 8 2 3. End 3 is not 7.\n\\boxed{8}", "false_walk"),
        (WRONG.replace("not ", "") + "\\boxed{5}", "false_walk"),
        (WRONG.replace(" 0 4", " 4") + "Try 6 3 9 1. End 1 is not 7.\nWait, 3 is wrong.\n" + RIGHT, "false_walk"),
        (RIGHT.replace("\\boxed{8}", "Wait, 8 is wrong.\n") + RIGHT, "needless"),
        ("Try 6 8 2 3. End 3 is not 7.\nWait, 8 is wrong.\n" + RIGHT, "needless"),
    ],
)
def test_roads_objects_to_a_false_walk_that_stands_and_to_a_right_road_taken_back(text, label):
    assert parse_query(MAP).answer == 8
    assert ROADS.faithful(MAP, text) == label


def test_the_common_check_judges_the_three_texts_as_one_by_the_rule_of_the_task(monkeypatch):
    monkeypatch.setattr(common_check, "task", lambda: ARITHMETIC)
    texts = {"prefix": ONE + BAD, "reflection": CAUGHT, "correction": TWO + REST}
    assert common_check.check(query=QUERY, is_correct=True, **texts) == ""
    assert common_check.check(query=QUERY, is_correct=True, **texts | {"reflection": ""}) == "false_step"
    with pytest.raises(ValueError, match="not a query"):
        common_check.check(query=MAP, is_correct=True, **texts)


def test_the_reward_says_of_each_response_whether_it_is_faithful():
    def told(text):
        return compute_score("arithmetic", text, "58", {"query": QUERY}, task=str(EXAMPLES / "arithmetic"))

    right, hidden = told(ONE + TWO + REST), told(ONE + BAD + REST)
    assert [(one["score"], one["faithful"]) for one in (right, hidden)] == [(1.0, 1), (1.0, 0)]
