"""The baselines in the real verl: two steps each, and SFT on what a run has sampled."""

import json
import os
import subprocess

import pyarrow.parquet as pq
import pytest

from tapo.core.phrases import load_detector
from tapo.evaluation.dumps import read_dump
from tests.e2e.harness import ENVIRONMENT, EXAMPLE, MODEL, PROMPT_FILE, PROMPTS, ROLLOUTS, ROOT, end_group, launch

TEMPLATE = "algorithm.opsd.template='{solution}\n{query}'"


def opsd(folder, data, *overrides):
    """Two steps; each rollout is taught or counted under the reason why not."""
    run = launch(folder, data, "trainer.total_training_steps=2", TEMPLATE, *overrides, tapo=False, words="opsd,cpu")
    assert set(run.steps) == {1, 2}
    for step in run.steps.values():
        without = sum(value for key, value in step.items() if key.startswith("opsd/rows/without_teacher/"))
        assert step["opsd/groups/total"] == PROMPTS and step["opsd/rows/taught"] > PROMPTS
        assert step["opsd/rows/taught"] + without == PROMPTS * ROLLOUTS
        # Behind the right solution the model is surer of a right step than of a wrong one.
        assert step["opsd/log_ratio/correct/mean"] > step["opsd/log_ratio/wrong/mean"]
        assert step["actor/grad_norm"] > 0
    return run


@pytest.mark.slow
def test_the_log_ratio_of_teacher_and_student_is_the_advantage_that_is_trained(tmp_path, data):
    run = opsd(tmp_path, data, "algorithm.opsd.clip=3")
    for step in run.steps.values():
        assert step["opsd/log_ratio/min"] < -3 and 0 < step["opsd/log_ratio/clipped"] < 0.5
        assert step["critic/advantages/min"] == -3
        assert step["critic/advantages/max"] == pytest.approx(min(step["opsd/log_ratio/max"], 3))


@pytest.mark.slow
def test_the_divergence_over_the_whole_vocabulary_is_what_the_sampled_tokens_estimate(tmp_path, data):
    run = opsd(tmp_path, data, "algorithm.opsd.mode=reverse_kl", "algorithm.opsd.top_k=null")
    for step in run.steps.values():
        taught = step["opsd/rows/taught"] / (PROMPTS * ROLLOUTS)
        assert step["actor/opsd_divergence"] == pytest.approx(-step["opsd/log_ratio/mean"] * taught, rel=0.35)
        assert step["critic/advantages/max"] == step["critic/advantages/min"] == step["actor/pg_loss"] == 0


@pytest.mark.slow
def test_two_ranks_minimise_a_clipped_forward_divergence_beside_grpo(tmp_path, data):
    options = ["mode=forward_kl", "top_k=8", "clip=0.05", "coefficient=0.5", "task_rewards=true"]
    options = [f"algorithm.opsd.{option}" for option in options]
    run = opsd(tmp_path, data, "trainer.n_gpus_per_node=2", *options)
    for step in run.steps.values():
        # Nine entries add 0.05 at most each. What the others take away is not clipped: p log(p/q) >= p - q.
        assert -1 < step["actor/opsd_divergence"] < 0.05 * 9 and step["actor/opsd_divergence"] != 0
        assert step["critic/advantages/max"] > 0.1
        assert step["actor/loss"] == pytest.approx(
            step["actor/pg_loss"] + 0.5 * step["actor/opsd_divergence"], rel=1e-3
        )


@pytest.mark.slow
def test_dapo_trains_no_group_whose_rewards_are_all_alike(tmp_path, data):
    run = launch(tmp_path, data, "trainer.total_training_steps=2", tapo=False, words="dapo,cpu")
    assert set(run.steps) == {1, 2}
    assert sum(step.get("training/filter_groups/evicted_samples", 0) for step in run.steps.values()) > 0
    for step in (1, 2):
        groups = {}
        for line in (run.folder / "rollouts" / f"{step}.jsonl").read_text().splitlines():
            row = json.loads(line)
            groups.setdefault(row["uid"].split("_")[0], set()).add(row["score"])
        assert len(groups) == PROMPTS and all(len(scores) == 2 for scores in groups.values())


def baseline_sft(folder, data, run, **variables):
    """`run_scripts/baseline_sft.sh` on two steps; its whole process group ends with it."""
    group = "+tapo=[default,cpu] data.train_batch_size=12 actor_rollout_ref.actor.ppo_mini_batch_size=6"
    group += f" algorithm.tapo.construction.prompt_file={PROMPT_FILE} algorithm.tapo.n_pos=1 algorithm.tapo.n_neg=1"
    group += " data.val_max_samples=8"
    sft = "trainer.total_training_steps=4 trainer.save_freq=4 trainer.total_epochs=50 data.train_batch_size=4"
    settings = {"RUN": run, "MODEL": MODEL, "DATA": data, "OUT": folder, "STEPS": 2, "SEED": 3, "NPROC": 1}
    settings |= {"TASK": EXAMPLE, "CONFIG": EXAMPLE / "config" / "rl.yaml", "RL": group}
    settings |= {"SFT": f"{sft} optim.lr=1e-3", "SFT_CONFIG": EXAMPLE / "config" / "cold_start.yaml"}
    environment = ENVIRONMENT | {name: str(value) for name, value in (settings | variables).items()}
    process = subprocess.Popen(
        ["bash", ROOT / "run_scripts" / "baseline_sft.sh"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=900)
    finally:
        end_group(process.pid)
    assert process.returncode == 0, output[-6000:]
    return output


@pytest.mark.slow
def test_sft_on_what_a_run_constructs_leaves_the_folder_of_an_rl_run(tmp_path, data):
    out = tmp_path / "sft"
    baseline_sft(out, data, "sft")
    detector = load_detector()
    for step in (0, 2):
        [benchmark] = read_dump(out / "validation" / f"{step}.jsonl", detector).benchmarks.values()
        assert len(benchmark.correct) == 8 * 4
    steps = {line["step"]: line["data"] for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())}
    collected = [json.loads(line) for line in (out / "collected" / "metrics.jsonl").read_text().splitlines()]
    generated = {line["step"]: line["data"] for line in collected}
    assert set(steps) == {1, 2} and steps[2]["sft/updates"] == 4
    for step, metrics in steps.items():
        for name in ("response_length/mean", "tapo/tokens/construct_generated"):
            assert metrics[name] == generated[step][name] > 0
    chats = pq.read_table(out / "of_2" / "chats" / "train.parquet").to_pylist()
    assert len(chats) == steps[2]["sft/chats"] > 4
    assert all(chat["messages"][-1]["content"].count("\\boxed{") == 1 for chat in chats)
    assert all([message["role"] for message in chat["messages"]] == ["user", "assistant"] for chat in chats)
    # Once more it does nothing, and on correct rollouts of the same run it goes without a collection of its own.
    made = os.stat(out / "validation" / "2.jsonl").st_mtime_ns
    assert "is complete" in baseline_sft(out, data, "sft")
    assert os.stat(out / "validation" / "2.jsonl").st_mtime_ns == made
    baseline_sft(tmp_path / "rejection", data, "rejection", SOURCE=out / "collected")
    correct = pq.read_table(tmp_path / "rejection" / "of_2" / "chats" / "train.parquet").to_pylist()
    assert len(correct) > len(chats) and {chat["kind"] for chat in correct} == {"correct"}
    assert (tmp_path / "rejection" / "validation" / "2.jsonl").exists()
