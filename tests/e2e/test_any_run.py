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


def run(folder, data, *line, tapo):
    """One step, with TAPO or without it."""
    name = "tapo" if tapo else "plain"
    thresholds = ("algorithm.tapo.n_pos=null", "algorithm.tapo.n_neg=null") if tapo else ()
    arguments = (*LINE, *line, "trainer.total_training_steps=1", *thresholds)
    return launch(folder / name, data, *arguments, tapo=tapo, environment=witness.environment(folder / f"{name}.jsonl"))


def assert_rollouts_are_those_of(plain_folder, tapo_folder, with_tapo):
    plain = witness.advantages(plain_folder / "plain.jsonl")
    tapo = witness.advantages(tapo_folder / "tapo.jsonl")
    assert len(plain) == PROMPTS * K and plain.keys() == tapo.keys()
    for row, advantages in plain.items():
        torch.testing.assert_close(torch.tensor(tapo[row]), torch.tensor(advantages), rtol=1e-5, atol=1e-6)
    assert max(abs(a) for row in plain.values() for a in row) > 0.1
    assert with_tapo.steps[1]["tapo/construct/trained"] > 0


@pytest.fixture(scope="module")
def rloo(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("rloo")
    return folder, *(run(folder, data, "algorithm.adv_estimator=rloo", tapo=tapo) for tapo in (False, True))


def test_one_word_leaves_the_advantages_of_the_rollouts_as_they_are(rloo):
    folder, plain, tapo = rloo
    assert_rollouts_are_those_of(folder, folder, tapo)
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


@pytest.mark.slow
def test_a_checkpoint_of_a_plain_run_goes_on_as_tapo_and_back(rloo, data):
    folder, plain, _ = rloo
    line = ("algorithm.adv_estimator=rloo", *LINE, "trainer.resume_mode=auto")
    variables = witness.environment(folder / "resumed.jsonl")
    tapo = launch(plain.folder, data, *line, "trainer.total_training_steps=2", environment=variables)
    assert max(tapo.steps) == 2 and tapo.steps[2]["tapo/construct/trained"] > 0
    back = launch(plain.folder, data, *line, "trainer.total_training_steps=3", tapo=False, environment=variables)
    assert max(back.steps) == 3 and "tapo/groups/total" not in back.steps[3]


@pytest.mark.slow
def test_whitened_advantages_are_left_alone_too(tmp_path, data):
    _, tapo = (
        run(tmp_path, data, "algorithm.adv_estimator=reinforce_plus_plus_baseline", tapo=tapo) for tapo in (False, True)
    )
    assert_rollouts_are_those_of(tmp_path, tmp_path, tapo)


@pytest.fixture(scope="module")
def plain_grpo(tmp_path_factory, data):
    """The folder of a run without TAPO, to which those that differ in the loss alone compare as well."""
    folder = tmp_path_factory.mktemp("grpo")
    run(folder, data, tapo=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        [],
        ["algorithm.rollout_correction.bypass_mode=true", "actor_rollout_ref.rollout.calculate_log_probs=true"],
        ["actor_rollout_ref.actor.shuffle=true", "actor_rollout_ref.actor.ppo_epochs=2"],
        ["actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm"],
        ["actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean"],
    ],
    ids=lambda line: line[0].split(".")[-1] if line else "grpo",
)
def test_settings_that_meet_the_constructed_rows_train_them(plain_grpo, tmp_path, data, line):
    tapo = run(tmp_path, data, *line, tapo=True)
    assert_rollouts_are_those_of(plain_grpo, tmp_path, tapo)
    assert tapo.steps[1]["actor/grad_norm"] > 0
