"""A launch line as users have it, with the group appended and without it."""

import pytest
import torch

from tests.e2e import witness
from tests.e2e.harness import PROMPTS, launch

K = 5
LINE = (
    f"actor_rollout_ref.rollout.n={K}",
    "trainer.v1.trainer_mode=sync",
    "trainer.save_freq=1",
    *witness.ARGUMENTS,
)


def both(folder, data, *line):
    """The run without TAPO and the same with it, one step each."""
    runs = []
    for name, tapo in (("plain", False), ("tapo", True)):
        variables = witness.environment(folder / f"{name}.jsonl")
        arguments = (*LINE, *line, "trainer.total_training_steps=1")
        thresholds = ("algorithm.tapo.n_pos=null", "algorithm.tapo.n_neg=null") if tapo else ()
        runs.append(launch(folder / name, data, *arguments, *thresholds, tapo=tapo, environment=variables))
    return runs


def assert_rollouts_are_those_of_the_run_without(folder, with_tapo):
    plain, tapo = (witness.advantages(folder / f"{name}.jsonl") for name in ("plain", "tapo"))
    assert len(plain) == PROMPTS * K and plain.keys() == tapo.keys()
    for row, advantages in plain.items():
        torch.testing.assert_close(torch.tensor(tapo[row]), torch.tensor(advantages), rtol=1e-5, atol=1e-6)
    assert max(abs(a) for row in plain.values() for a in row) > 0.1
    assert with_tapo.steps[1]["tapo/construct/trained"] > 0


@pytest.fixture(scope="module")
def rloo(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("rloo")
    return folder, *both(folder, data, "algorithm.adv_estimator=rloo")


def test_one_word_leaves_the_advantages_of_the_rollouts_as_they_are(rloo):
    folder, plain, tapo = rloo
    assert_rollouts_are_those_of_the_run_without(folder, tapo)
    assert not [name for name in plain.steps[1] if name.startswith("tapo/")]
    for name in ("critic/score/mean", "critic/advantages/mean", "response_length/mean", "actor/entropy"):
        assert tapo.steps[1][name] == pytest.approx(plain.steps[1][name], rel=1e-4), name


def test_thresholds_follow_the_number_of_rollouts(rloo):
    _, _, tapo = rloo
    groups = {}
    for row in tapo.trained():
        if not row["constructed"]:
            groups.setdefault(row["uid"], []).append(row["reward"])
    eligible = [rewards for rewards in groups.values() if 1 <= sum(rewards) <= K - 2]
    assert tapo.steps[1]["tapo/groups/eligible"] == len(eligible) > 0


def test_a_checkpoint_of_a_plain_run_goes_on_as_tapo_and_back(rloo, data):
    folder, plain, _ = rloo
    line = ("algorithm.adv_estimator=rloo", *LINE, "trainer.resume_mode=auto")
    variables = witness.environment(folder / "resumed.jsonl")
    tapo = launch(plain.folder, data, *line, "trainer.total_training_steps=2", environment=variables)
    assert max(tapo.steps) == 2 and tapo.steps[2]["tapo/construct/trained"] > 0
    back = launch(plain.folder, data, *line, "trainer.total_training_steps=3", tapo=False, environment=variables)
    assert max(back.steps) == 3 and "tapo/groups/total" not in back.steps[3]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["grpo", "reinforce_plus_plus_baseline"])
def test_other_estimators_are_left_alone_too(tmp_path, data, estimator):
    _, tapo = both(tmp_path, data, f"algorithm.adv_estimator={estimator}")
    assert_rollouts_are_those_of_the_run_without(tmp_path, tapo)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        ["algorithm.rollout_correction.bypass_mode=true", "actor_rollout_ref.rollout.calculate_log_probs=true"],
        ["actor_rollout_ref.actor.shuffle=true", "actor_rollout_ref.actor.ppo_epochs=2"],
        ["actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm"],
        ["actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean"],
    ],
    ids=lambda line: line[0].split(".")[-1],
)
def test_settings_that_meet_the_constructed_rows_train_them(tmp_path, data, line):
    _, tapo = both(tmp_path, data, *line)
    assert_rollouts_are_those_of_the_run_without(tmp_path, tapo)
    assert tapo.steps[1]["actor/grad_norm"] > 0
