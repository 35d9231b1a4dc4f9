"""TAPO in the real verl: Ray, TransferQueue, FSDP2 and vLLM, from a cold-started checkpoint."""

import json
from collections import defaultdict

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from tests.e2e import faults
from tests.e2e.harness import PROMPTS, ROLLOUTS, UPDATES_PER_STEP, launch, trained_rows

N_ROWS = PROMPTS * ROLLOUTS


def by_group(rows, constructed):
    groups = defaultdict(list)
    for row in rows:
        if row["constructed"] == constructed:
            groups[row["step"], row["uid"]].append(row)
    return groups


def optimiser_steps(folder):
    states = sorted((folder / "checkpoints").glob("global_step_*/actor/optim_world_size_*_rank_0.pt"))
    state = torch.load(states[-1], weights_only=False)["state"]
    return {int(entry["step"]) for entry in state.values()}


def test_constructed_rows_exist_and_are_trained(tapo_run):
    rows = [row for row in tapo_run.constructions() if row["outcome"] == "trained"]
    keys = {row["key"] for row in tapo_run.trained() if row["constructed"]}
    assert len(rows) >= 4
    assert keys == {row["key"] for row in rows}
    for step, metrics in tapo_run.steps.items():
        of_step = [row for row in tapo_run.constructions() if row["step"] == step]
        assert metrics["tapo/construct/attempted"] == len(of_step)
        assert metrics["tapo/construct/trained"] == sum(row["outcome"] == "trained" for row in of_step)
        assert metrics["tapo/construct/correct"] == sum((row["reward"] or 0) > 0.5 for row in of_step)
        assert metrics["tapo/groups/total"] == PROMPTS
        rejected = {key.rsplit("/", 1)[1]: n for key, n in metrics.items() if "/rejected/" in key and n}
        outcomes = [row["outcome"] for row in of_step if row["outcome"] != "trained"]
        assert rejected == {name: outcomes.count(name) for name in set(outcomes)}


def test_kept_prefixes_are_the_wrong_rollouts_own_ids(tapo_run):
    rows = [row for row in tapo_run.constructions() if row["outcome"] == "trained"]
    for row in rows:
        kept = row["prefix_length"]
        assert kept >= 1 and row["ids"][:kept] == row["wrong_ids"][:kept]
        assert row["wrong"].startswith(row["prefix"])
        assert row["wrong_reward"] <= 0.5


def test_rollouts_have_the_advantages_of_grpo(tapo_run):
    groups = by_group(tapo_run.trained(), constructed=False)
    assert len(groups) == 2 * PROMPTS
    for rows in groups.values():
        assert len(rows) == ROLLOUTS
        rewards = torch.tensor([[row["reward"]] for row in rows])
        expected, _ = compute_grpo_outcome_advantage(rewards, torch.ones(len(rows), 1), np.array(["group"] * len(rows)))
        torch.testing.assert_close(torch.tensor([row["advantage"] for row in rows]), expected[:, 0])


def test_constructed_groups_are_normalised_by_themselves(tapo_run):
    source_reward = {row["key"]: row["wrong_reward"] for row in tapo_run.constructions()}
    groups = by_group(tapo_run.trained(), constructed=True)
    assert groups
    alive = 0
    for rows in groups.values():
        rewards = torch.tensor([row["reward"] for row in rows])
        members = torch.cat([rewards, torch.tensor([source_reward[row["key"]] for row in rows])])
        expected = (rewards - members.mean()) / (members.std() + 1e-6)
        torch.testing.assert_close(torch.tensor([row["advantage"] for row in rows]), expected)
        alive += bool(expected.abs().max() > 0)
    assert alive > 0


def test_token_weights_lie_between_their_bounds(tapo_run):
    constructions = {row["key"]: row for row in tapo_run.constructions()}
    for row in tapo_run.trained():
        if row["constructed"]:
            built = constructions[row["key"]]
            assert len(row["weights"]) == len(built["ids"]) == len(built["token_lengths"])
            text = built["prefix"] + built["reflection"] + built["correction"]
            assert sum(built["token_lengths"]) == len(text)
            assert min(row["weights"]) > 0.0099 and max(row["weights"]) <= 10


def test_there_are_as_many_optimiser_updates_as_grpo_makes(tapo_run):
    assert optimiser_steps(tapo_run.folder) == {2 * UPDATES_PER_STEP}


def test_verls_metrics_cover_the_rollouts_alone(tapo_run):
    for step, metrics in tapo_run.steps.items():
        rewards = [row["reward"] for row in tapo_run.trained() if row["step"] == step and not row["constructed"]]
        assert len(rewards) == N_ROWS
        assert metrics["critic/score/mean"] == pytest.approx(np.mean(rewards))


def test_a_run_stopped_after_a_checkpoint_goes_on_and_switched_off_it_is_the_run_without_tapo(tapo_run, data):
    resumed = launch(
        tapo_run.folder,
        data,
        "trainer.total_training_steps=3",
        "trainer.save_freq=3",
        "trainer.resume_mode=auto",
        "algorithm.tapo.enable=false",
        f"algorithm.tapo.dump_dir={tapo_run.folder}/resumed/dump",
    )
    assert max(resumed.steps) == 3
    assert resumed.steps[3]["tapo/construct/attempted"] == 0
    rows = trained_rows(tapo_run.folder / "resumed" / "dump")
    assert len(rows) == N_ROWS and {row["constructed"] for row in rows} == {False}
    assert optimiser_steps(tapo_run.folder) == {3 * UPDATES_PER_STEP}


def test_a_client_that_raises_or_an_answer_that_never_comes_costs_the_constructions_and_nothing_else(tmp_path, data):
    remains = tmp_path / "remains"
    run = launch(
        tmp_path,
        data,
        "trainer.total_training_steps=2",
        "actor_rollout_ref.rollout.agent.agent_loop_manager_class=tests.e2e.faults.FaultyManager",
        "algorithm.tapo.construction.timeout_s=1.5",
        "actor_rollout_ref.rollout.max_model_len=1024",
        environment={faults.REMAINS: str(remains)},
    )
    assert set(run.steps) == {1, 2}
    for metrics in run.steps.values():
        attempted = metrics["tapo/construct/attempted"]
        assert attempted > 1
        assert metrics["tapo/construct/rejected/error"] + metrics["tapo/construct/rejected/timeout"] == attempted
        assert metrics["tapo/construct/rejected/timeout"] > 0 and metrics["tapo/construct/rejected/error"] > 0
        assert metrics["tapo/construct/trained"] == 0
        assert np.isfinite(metrics["actor/grad_norm"])
    assert len(run.trained()) == 2 * N_ROWS
    # Groups construct beside one another: the last to end has none of its own or of others left.
    counts = [json.loads(line) for line in remains.read_text().splitlines()]
    assert max(group["while"] for group in counts) > 0 == counts[-1]["behind"]


@pytest.fixture(scope="module")
def two_rank_run(tmp_path_factory, data):
    """Two ranks, with KL terms and decoupled rollout correction."""
    return launch(
        tmp_path_factory.mktemp("ranks"),
        data,
        "trainer.total_training_steps=1",
        "trainer.n_gpus_per_node=2",
        "trainer.save_freq=1",
        "algorithm.use_kl_in_reward=true",
        "actor_rollout_ref.actor.use_kl_loss=true",
        "actor_rollout_ref.actor.entropy_coeff=0.001",
        "actor_rollout_ref.rollout.calculate_log_probs=true",
        "algorithm.rollout_correction.rollout_is=token",
        "algorithm.rollout_correction.rollout_is_threshold=2.0",
    )


def test_two_ranks_train_the_same_rows(two_rank_run):
    assert two_rank_run.steps[1]["tapo/construct/trained"] > 0
    assert len([row for row in two_rank_run.trained() if not row["constructed"]]) == N_ROWS
    assert optimiser_steps(two_rank_run.folder) == {UPDATES_PER_STEP}


def test_kl_terms_and_decoupled_rollout_correction_work_with_it(two_rank_run):
    step = two_rank_run.steps[1]
    assert step["tapo/construct/trained"] > 0
    assert np.isfinite(step["actor/kl_loss"]) and np.isfinite(step["actor/grad_norm"])
    assert "rollout_corr/rollout_is_mean" in step


@pytest.fixture(scope="module")
def filtered_adapter_run(tmp_path_factory, data):
    """LoRA under the group filter of DAPO, which needs queries one by one."""
    return launch(
        tmp_path_factory.mktemp("filtered"),
        data,
        "trainer.total_training_steps=1",
        "trainer.save_freq=1",
        "data.gen_batch_size=1",
        "algorithm.filter_groups.enable=true",
        "actor_rollout_ref.model.lora_rank=8",
        "actor_rollout_ref.model.target_modules=all-linear",
    )


@pytest.mark.slow
def test_the_filter_of_dapo_replaces_whole_queries_and_keeps_constructed_rows_beside_theirs(filtered_adapter_run):
    run = filtered_adapter_run
    rollouts = by_group(run.trained(), constructed=False)
    constructed = by_group(run.trained(), constructed=True)
    assert len(rollouts) == PROMPTS
    assert all(len({row["reward"] for row in rows}) == 2 for rows in rollouts.values())
    assert constructed and {(step, uid.removesuffix("_ref")) for step, uid in constructed} <= rollouts.keys()
    # Every group that the filter lets through holds right and wrong answers, hence is eligible with n_pos = n_neg = 1.
    assert run.steps[1]["tapo/groups/eligible"] == run.steps[1]["tapo/groups/total"] == PROMPTS


@pytest.mark.slow
def test_an_adapter_learns_from_constructed_rows(filtered_adapter_run):
    run = filtered_adapter_run
    assert run.steps[1]["tapo/construct/trained"] > 0
    assert run.steps[1]["actor/grad_norm"] > 0
    assert optimiser_steps(run.folder) == {UPDATES_PER_STEP}


def test_the_colocated_asynchronous_mode_constructs_and_shows_trajectories_in_the_tracker(tmp_path, data):
    run = launch(
        tmp_path,
        data,
        "trainer.total_training_steps=2",
        "trainer.v1.trainer_mode=colocate_async",
        "trainer.logger=[console,file,tensorboard]",
        "algorithm.tapo.log_trajectories_every=2",
        "algorithm.tapo.log_trajectories=3",
    )
    assert set(run.steps) == {1, 2}
    assert run.steps[2]["tapo/construct/trained"] > 0
    [events] = tmp_path.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events)).Reload()
    [logged] = accumulator.Tensors("tapo/trajectories/text_summary")
    text = logged.tensor_proto.string_val[0].decode()
    shown = [row for row in run.constructions() if row["outcome"] == "trained" and f"### {row['key']}, step 2" in text]
    assert logged.step == 2 and len(shown) == min(3, run.steps[2]["tapo/construct/trained"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        pytest.param("algorithm.tapo.n_poz=1", "algorithm.tapo.n_poz = 1 cannot work", marks=pytest.mark.slow),
        pytest.param("algorithm.tapo.n_neg=8", "actor_rollout_ref.rollout.n = 8 cannot work", marks=pytest.mark.slow),
        ("algorithm.adv_estimator=gae", "adv_estimator = 'gae' cannot work"),
    ],
)
def test_what_cannot_work_stops_before_ray_starts(tmp_path, data, override, sentence):
    prefix = "+" if "n_poz" in override else ""
    run = launch(tmp_path, data, prefix + override, check=False, timeout_s=120)
    assert sentence in run.log
    assert "ray init kwargs" not in run.log and run.steps == {}
