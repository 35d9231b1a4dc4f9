"""Quoted errors and corrections of the policy's own in the real verl: whole answers, then answers in pieces."""

from collections import Counter, defaultdict

import pytest
import torch

from tests.e2e import sweep
from tests.e2e.harness import COMMON, ROLLOUTS, ROOT, launch

MODEL = ROOT / "tests" / "data" / "anchored_model"
"""Of `COPY=anchored CORRECTION=own EXAMPLE=arithmetic ALGORITHM=none bash run_scripts/quickstart.sh`, in bfloat16."""
SETTINGS = [{"construction": {"samples": 2}}, {"construction": {"slice_tokens": 8, "deadline": 600.0}}]


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    return launch(
        tmp_path_factory.mktemp("forms"),
        data,
        f"trainer.total_training_steps={len(SETTINGS) * sweep.STEPS}",
        f"actor_rollout_ref.model.path={MODEL}",
        f"algorithm.tapo.construction.own_prompt_file={COMMON / 'own_prompt.txt'}",
        "algorithm.tapo.construction.copy=anchored",
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
    for row in rows:
        kept = row["prefix_length"]
        assert row["own"] and row["anchor"] and row["placed_tokens"] <= kept
        assert row["ids"][:kept] == row["wrong_ids"][:kept] and row["wrong"].startswith(row["prefix"])
        assert "\\boxed" not in row["reflection"] and "\n" not in row["reflection"].strip()
        assert row["is_correct"] is (row["reward"] > 0.5)
    assert {row["is_correct"] for row in rows} == {True, False}


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
