"""The run's reward outside of a run: called as verl calls it."""

import asyncio
import json

import pytest

from tapo.data.query import Query
from tapo.generation.run_rollouts import try_reward
from tapo.generation.scoring import DEFAULT_PATH, VERL, RewardFailed, RewardOptions, Scorer

OWN = """
import json

def compute_score(data_source, solution_str, ground_truth, extra_info=None, bonus=0.0):
    extra_info["seen"] = True
    return {"score": bonus, "acc": solution_str == str(ground_truth), "got": json.dumps([ground_truth, extra_info])}

async def slow(data_source, solution_str, ground_truth, extra_info):
    return float(len(solution_str))

def fails(**arguments):
    raise KeyError("unit")

def words(**arguments):
    return "right"
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my_reward.py"
    path.write_text(OWN)
    return str(path)


def named(path=DEFAULT_PATH, name="compute_score", kwargs=(), correct_key=None):
    return RewardOptions(reward_path=path, reward_name=name, reward_kwarg=dict(kwargs), correct_key=correct_key)


def judge(reward, source="s", response="7", truth="7", extra_info=None):
    return asyncio.run(
        Scorer(reward).judge(
            data_source=source, response=response, ground_truth=truth, index="q", extra_info=extra_info or {}
        )
    )


def test_a_reward_of_ones_own_gets_truth_extra_info_and_arguments_as_verl_gives_them(own):
    row = {"index": 3, "unit": "cm"}
    judgement = judge(named(own, "compute_score", {"bonus": 0.25}), truth=7, extra_info=row)
    assert (judgement.score, judgement.info["acc"]) == (0.25, True)
    added = {"num_turns": 2, "rollout_reward_scores": {}, "seen": True}
    assert json.loads(judgement.info["got"]) == [7, row | added]
    assert row == {"index": 3, "unit": "cm"}


def test_correctness_may_come_from_what_the_reward_returns_beside_the_score(own):
    assert judge(named(own, correct_key="acc")).score == 1.0
    assert judge(named(own, correct_key="acc"), truth="8").score == 0.0
    with pytest.raises(ValueError, match="correct_key = 'accuracy' cannot work: the reward returned score, acc, got"):
        judge(named(own, correct_key="accuracy"))
    assert judge(named(own, "slow", correct_key="acc"), response="four").score == 4.0


def test_an_asynchronous_reward_is_awaited(own):
    assert judge(named(own, "slow"), response="four").score == 4.0


@pytest.mark.parametrize(
    ("source", "response", "truth", "score"),
    [
        ("openai/gsm8k", "so #### 72", "72", 1.0),
        ("openai/gsm8k", "so 72", "72", 0.0),
        ("DigitalLearningGmbH/MATH-lighteval", r"\boxed{\frac12}", r"\frac{1}{2}", 1.0),
        ("math_dapo", "Answer: 34", "34", 1.0),
        ("math_dapo", "Answer: 35", "34", -1.0),
        ("searchR1_nq", "<answer>Paris</answer>", {"target": ["paris", "Paname"]}, 1.0),
    ],
)
def test_without_a_reward_verls_own_scoring_by_data_source_counts(source, response, truth, score):
    assert judge(named(VERL), source, response, truth).score == score


def test_a_data_source_that_verl_cannot_score_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"reward = verl's own cannot work for data_source = 'mine'.*--reward-path"):
        judge(named(VERL), "mine")


def test_a_reward_that_raises_is_named_with_its_query_and_its_own_exception_as_the_cause(own):
    with pytest.raises(RewardFailed, match="the reward of query q raised KeyError: 'unit'") as caught:
        judge(named(own, "fails"))
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_reward_that_is_no_number_is_refused(own):
    with pytest.raises(ValueError, match="the reward of query q is 'right': needs a number"):
        judge(named(own, "words"))


def test_each_data_source_is_tried_before_a_model_is_loaded(own):
    queries = [Query("a", "openai/gsm8k", [], "7"), Query("b", "mine", [], "7")]
    asyncio.run(try_reward(queries[:1], Scorer(named(VERL))))
    with pytest.raises(ValueError, match="cannot work for data_source = 'mine'"):
        asyncio.run(try_reward(queries, Scorer(named(VERL))))
    without = [Query("a", "mine", [], None)]
    asyncio.run(try_reward(without, Scorer(named(VERL))))
    with pytest.raises(RewardFailed):
        asyncio.run(try_reward(without, Scorer(named(own, "fails"))))


def test_the_fingerprint_of_a_file_changes_with_its_content(own, tmp_path):
    before = named(own).reward_fingerprint
    assert before.startswith(f"{own}:compute_score {{}} sha256:") and named(own).reward_fingerprint == before
    assert len({before, named(own, "slow").reward_fingerprint, named(own, correct_key="acc").reward_fingerprint}) == 3
    (tmp_path / "my_reward.py").write_text(OWN + "\n")
    assert named(own).reward_fingerprint != before
    assert named().reward_fingerprint == "pkg://tapo.rewards:compute_score {}"
