"""``compute_score``: which answers are right, what is reported, and which settings are refused."""

import inspect
import logging
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest

import tapo.rewards.math_verify_reward as reward_module
from tapo.rewards import compute_score
from tapo.rewards.math_verify_reward import normalise

KEYS = ["score", "acc", "timeout", "unparsable", "pred"]


def score_of(answer: str, ground_truth) -> float:
    return compute_score("math", f"Hence \\boxed{{{answer}}}.", ground_truth)["score"]


@pytest.fixture
def no_process(monkeypatch):
    """Fail when the fast path hands an answer over to math-verify."""

    def refuse(workers):
        raise AssertionError("the fast path asked math-verify")

    monkeypatch.setattr(reward_module, "shared_pool", refuse)


@pytest.mark.parametrize(
    ("answer", "ground_truth"),
    [
        ("82", "82"),
        ("82", 82),
        ("82", np.int64(82)),
        (" 82. ", "$82$"),
        ("007", "7"),
        ("+7", "7"),
        ("-0", "0"),
        ("7.0", "7"),
        (".50", "0.5"),
        ("1e3", "1000"),
        ("1.5E-2", "0.015"),
        (r"\varnothing", r"\emptyset"),
        (r"\frac{1}{2}", r"\boxed{\frac{1}{2}}"),
        (r"$\frac{1}{2}$", r"$$ \frac{1}{2}. $$"),
        pytest.param("9" * 6000, "0" + "9" * 6000, id="more digits than int() takes"),
    ],
)
def test_the_same_text_or_the_same_plain_number_is_right_without_math_verify(no_process, answer, ground_truth):
    assert score_of(answer, ground_truth) == 1.0


@pytest.mark.parametrize(("answer", "ground_truth"), [("83", "82"), ("-7", "7"), ("0", "10"), ("1" * 500, "1" * 499)])
def test_different_integers_are_wrong_without_math_verify(no_process, answer, ground_truth):
    assert compute_score("math", f"\\boxed{{{answer}}}", ground_truth) | {"pred": ""} == {
        "score": 0.0,
        "acc": 0.0,
        "timeout": 0,
        "unparsable": 0,
        "pred": "",
    }


@pytest.mark.parametrize(
    ("answer", "ground_truth"),
    [
        ("1/2", "0.5"),
        ("0.5", r"\frac12"),
        (r"\dfrac{3}{4}", "3/4"),
        (r"5\sqrt{2}", r"\sqrt{50}"),
        ("3+2x", "2x+3"),
        (r"\{2,1\}", "1,2"),
        ("x=5", "5"),
        ("2+3=5", "5"),
        (r"x = \frac{10}{2} = 5", "5"),
        (r"\left(2+3\right)\cdot 2=10", "10"),
        ("f(2)=5", "5"),
        (r"\frac{1}{3}=0.333", "0.333"),
        ("x=5", "x=5"),
        ("90\N{DEGREE SIGN}", "90"),
        ("1,000", "1000"),
        (r"90^\circ", "90"),
        (r"50\%", "50"),
        ("50%", r"\frac{1}{2}"),
        (r"\text{(A)}", "A"),
        (r"\text{Evelyn}", "Evelyn"),
        ("0.3333333", "1/3"),
        ("0.3333334", "0.3333333"),
        ("\n\\frac{1}\n{2}\n", "1/2"),
    ],
)
def test_an_equal_expression_is_right(answer, ground_truth):
    assert score_of(answer, ground_truth) == 1.0


@pytest.mark.parametrize(
    ("answer", "ground_truth"),
    [
        ("0.51", "1/2"),
        ("0.333", "1/3"),
        ("81, 82", "82"),
        (r"81 \text{ or } 82", "82"),
        (r"82$ and $81", "82"),
        ("8 2", "82"),
        (r"x \ne 82", "82"),
        (r"\approx 82", "82"),
        (r"\frac{82", "82"),
        (r"\text{(B)}", "A"),
        ("-\\frac{1}{2}", "1/2"),
        ("7.5", "7"),
        ("6=5", "5"),
        ("7=6=5", "5"),
        (r"x=\frac{12}{2}=5", "5"),
        (r"2 \times 3 = 5", "5"),
        ("1e4", "1000"),
    ],
)
def test_a_different_or_a_hedged_answer_is_wrong(answer, ground_truth):
    assert score_of(answer, ground_truth) == 0.0


@pytest.mark.parametrize(("piece", "end"), [("9", "+1"), ("0.", ""), ("$ ", "1"), (". ", ""), ("-", "")])
def test_half_a_million_characters_in_the_box_cost_seconds_at_most(no_process, piece, end):
    answer = piece * (500_000 // len(piece)) + end
    started = time.monotonic()
    assert compute_score("math", f"\\boxed{{{answer}}}", answer[1:])["unparsable"] == 1
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("response", ["", "82", r"\boxed{82", r"\boxed{}", r"\boxed{ $ $ }", r"\boxed{.}"])
def test_a_response_without_a_boxed_answer_is_unparsable(no_process, response):
    assert compute_score("math", response, "82") == {
        "score": 0.0,
        "acc": 0.0,
        "timeout": 0,
        "unparsable": 1,
        "pred": "",
    }


def test_an_answer_that_math_verify_cannot_read_is_unparsable_and_still_reported():
    result = compute_score("math", r"\boxed{9**9**9}", "82")
    assert result == {"score": 0.0, "acc": 0.0, "timeout": 0, "unparsable": 1, "pred": "9**9**9"}


def test_an_answer_over_max_chars_is_unparsable_and_its_report_is_cut(no_process):
    assert compute_score("math", r"\boxed{1+1+1+1}", "4", max_chars=3) == {
        "score": 0.0,
        "acc": 0.0,
        "timeout": 0,
        "unparsable": 1,
        "pred": "1+1",
    }


def test_a_ground_truth_over_max_chars_can_still_be_met(no_process):
    assert compute_score("math", r"\boxed{1+1+1+1}", "1+1+1+1", max_chars=3)["score"] == 1.0


@pytest.mark.parametrize("response", [r"\boxed{82}", r"\boxed{1/2}", "nothing", r"\boxed{x y z}"])
def test_keys_and_types_are_always_the_same(response):
    result = compute_score("math", response, "82", {"index": 3})
    assert list(result) == KEYS
    assert [type(value) for value in result.values()] == [float, float, int, int, str]


@pytest.mark.parametrize("ground_truth", [None, "", "  ", "$ $", r"\boxed{}", math.nan, ["82"], {"answer": 82}])
def test_a_prompt_without_a_ground_truth_is_refused_by_name(ground_truth):
    with pytest.raises(ValueError, match=r"reward_model.ground_truth of data_source 'aime', index 17: got .*expected"):
        compute_score("aime", r"\boxed{82}", ground_truth, {"index": 17})


@pytest.mark.parametrize(
    ("option", "value"),
    [("timeout_s", 0), ("timeout_s", -1), ("timeout_s", math.inf), ("timeout_s", math.nan), ("timeout_s", "5")]
    + [(option, value) for option in ("max_chars", "workers") for value in (0, -1, 1.5, "2")],
)
def test_an_option_out_of_range_is_refused_with_key_and_value(option, value):
    with pytest.raises(ValueError, match=rf"reward_kwargs.{option}: got {value!r}, expected"):
        compute_score("math", r"\boxed{82}", "82", **{option: value})


def test_an_unknown_option_is_named_once_and_verls_own_arguments_are_not(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            compute_score(
                "math", r"\boxed{82}", "82", timeout=3, reward_router_address="a", reward_model_tokenizer=None
            )
    assert [record.getMessage() for record in caplog.records] == [
        "compute_score ignores 'timeout'; it knows timeout_s, max_chars and workers"
    ]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  a \n b ", "a b"),
        ("$82$", "82"),
        ("$$82.$$.", "82"),
        (r"\$5", r"\$5"),
        (r"$5\$", r"$5\$"),
        (r"\left. x \right.", r"\left. x \right."),
        ("1, 2, ...", "1, 2, ..."),
        ("$" * 1001, ""),
    ],
)
def test_normalisation_drops_space_dollars_and_a_final_full_stop_only(text, normal):
    assert normalise(text) == normal


@pytest.mark.parametrize("path", ["pkg://tapo.rewards", reward_module.__file__])
def test_verl_loads_the_function_by_module_and_by_file(path):
    reward = pytest.importorskip("verl.trainer.ppo.reward")
    function = {"path": path, "name": "compute_score", "reward_kwargs": {"max_chars": 3}}
    loaded = reward.get_custom_reward_fn(SimpleNamespace(reward={"custom_reward_function": function}))
    assert not inspect.iscoroutinefunction(loaded)
    result = loaded(data_source="math", solution_str=r"\boxed{82+0}", ground_truth="82", extra_info={})
    assert (result["unparsable"], result["pred"]) == (1, "82+")
