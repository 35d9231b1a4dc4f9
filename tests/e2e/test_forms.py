"""Quoted errors and corrections of the policy's own in the real verl: whole answers, then answers in pieces."""

from collections import Counter, defaultdict

import pytest
import torch

from tests.e2e import sweep
from tests.e2e.harness import COMMON, PROMPTS, ROLLOUTS, ROOT, launch

MODEL = ROOT / "tests" / "data" / "anchored_model"
"""Of `COPY=anchored CORRECTION=own EXAMPLE=arithmetic ALGORITHM=none bash run_scripts/quickstart.sh`, in bfloat16."""
SETTINGS = [{"construction": {"samples": 2}}, {"construction": {"slice_tokens": 8, "deadline": 600.0}}]
ANCHORED = [
    f"actor_rollout_ref.model.path={MODEL}",
    f"algorithm.tapo.construction.own_prompt_file={COMMON / 'own_prompt.txt'}",
    "algorithm.tapo.construction.copy=anchored",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    return launch(
        tmp_path_factory.mktemp("forms"),
        data,
        f"trainer.total_training_steps={len(SETTINGS) * sweep.STEPS}",
        *ANCHORED,
        "algorithm.tapo.construction.correction=own",
        *sweep.ARGUMENTS,
        environment=sweep.environment(SETTINGS),
    )


def of(run, number):
    return [row for row in run.constructions() if row["step"] in sweep.steps_of(number)]


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_trajectories_are_the_attempts_own_tokens_a_reflection_and_what_the_policy_sampled(run, number):
    rows = [row for row in of(run, number) if row["outcome"] == "trained"]
    assert len(rows) >= 8
    check_rows(rows)
    for row in rows:
        assert row["own"] and row["anchor"] and row["placed_tokens"] <= row["prefix_length"]
        assert "\\boxed" not in row["reflection"] and "\n" not in row["reflection"].strip()
    assert {row["is_correct"] for row in rows} == {True, False}


def check_rows(rows):
    for row in rows:
        kept = row["prefix_length"]
        assert row["ids"][:kept] == row["wrong_ids"][:kept] and row["wrong"].startswith(row["prefix"])
        assert row["is_correct"] is (row["reward"] > 0.5)


def test_the_samples_behind_a_reflection_share_it_and_are_rows_of_their_own(run):
    openings = defaultdict(list)
    for row in of(run, 0):
        if row["outcome"] == "trained":
            openings[row["uid"], row["wrong_session"]].append(row)
    assert openings
    for rows in openings.values():
        assert len({row["prefix"] + row["reflection"] for row in rows}) == 1
        assert len({row["key"] for row in rows}) == len(rows) <= 2
        assert sum(row["placed_tokens"] > 0 for row in rows) <= 1
    assert Counter(map(len, openings.values())).most_common(1)[0][0] == 2


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_the_metrics_are_the_sums_over_the_dump(run, number):
    for step in sweep.steps_of(number):
        rows, metrics = [row for row in of(run, number) if row["step"] == step], run.steps[step]
        sums = {"generated": "answer_tokens", "prompt": "prompt_tokens", "placed": "placed_tokens"}
        for name, field in sums.items():
            assert metrics[f"tapo/tokens/construct_{name}"] == sum(row[field] for row in rows)
        own = [row for row in rows if row["own"] and row["is_correct"] is not None]
        assert metrics["tapo/construct/own_success"] == pytest.approx(sum(row["is_correct"] for row in own) / len(own))
        assert metrics["tapo/construct/attempted"] == len(rows)
        assert metrics["actor/grad_norm"] > 0 and metrics["tapo/ref/dead_groups"] < metrics["tapo/groups/eligible"]


def test_rollouts_keep_the_advantages_of_grpo(run):
    groups = defaultdict(list)
    for row in run.trained():
        if not row["constructed"]:
            groups[row["step"], row["uid"]].append(row)
    for rows in groups.values():
        rewards = torch.tensor([row["reward"] for row in rows])
        expected = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        assert len(rows) == ROLLOUTS
        assert [row["advantage"] for row in rows] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.slow
def test_an_adapter_under_the_filter_of_dapo_is_trained_on_samples_of_its_own(tmp_path, data):
    run = launch(
        tmp_path,
        data,
        *ANCHORED,
        "trainer.total_training_steps=2",
        "data.gen_batch_size=1",
        "algorithm.filter_groups.enable=true",
        "actor_rollout_ref.model.lora_rank=8",
        "actor_rollout_ref.model.target_modules=all-linear",
        "algorithm.tapo.construction.correction=own",
        "algorithm.tapo.construction.samples=2",
    )
    kept = {(row["step"], row["uid"]) for row in run.trained() if not row["constructed"]}
    trained = {row["key"] for row in run.trained() if row["constructed"]}
    rows = [row for row in run.constructions() if row["outcome"] == "trained"]
    assert len(kept) == 2 * PROMPTS and len(trained) > 8
    # The filter drops a query with the rows beside it; of those that stay each row is trained.
    assert trained == {row["key"] for row in rows if (row["step"], row["uid"]) in kept}
    check_rows(rows)
    assert all(row["own"] for row in rows)
    assert all(step["actor/grad_norm"] > 0 for step in run.steps.values())


@pytest.mark.slow
def test_the_colocated_asynchronous_mode_trains_them_too(tmp_path, data):
    run = launch(
        tmp_path,
        data,
        *ANCHORED,
        "trainer.total_training_steps=2",
        "trainer.v1.trainer_mode=colocate_async",
        "algorithm.tapo.construction.correction=own",
        "algorithm.tapo.construction.deadline=30",
    )
    rows = [row for row in run.constructions() if row["outcome"] == "trained"]
    assert len(rows) > 8 and all(row["own"] for row in rows)
    assert {row["key"] for row in run.trained() if row["constructed"]} == {row["key"] for row in rows}
    check_rows(rows)
    assert all(step["tapo/construct/rejected/deadline"] == 0 for step in run.steps.values())
