"""The cold start's stages on real vLLM and verl, killed in the middle and started again.

They begin with the parquet files of a run as a user has them: a system prompt, numbers as ids and ground truths, a
reward of its own, and rows that nothing can be sampled for.
"""

import subprocess
import sys
import time
from dataclasses import dataclass

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tapo.cold_start.store import ConstructionStore
from tapo.data.rollout_store import RolloutStore
from tests.e2e.harness import COMMON, ENVIRONMENT, EXAMPLE, MODEL, PROMPT_FILE, ROOT

TIMEOUT_S = 300


def run(command, killed_when=None, **environment):
    """Run to the end; or kill the command with all its descendants as soon as `killed_when()` holds."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if killed_when is None:
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, output[-6000:]
        return " ".join(output.split())
    deadline = time.monotonic() + TIMEOUT_S
    while not killed_when():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0][-6000:]
        time.sleep(0.02)
    # torchrun's workers are in sessions of their own, so that a process group would not hold them.
    for victim in [*psutil.Process(process.pid).children(recursive=True), process]:
        victim.kill()
    return process.communicate()[0]


def tapo(*arguments, killed_when=None):
    return run([sys.executable, "-m", "tapo.cli", *arguments], killed_when)


def parts(folder):
    return len(list(folder.glob("part-*.parquet")))


SYSTEM = {"role": "system", "content": "What is the result?"}
# Right is what `acc` says: the score never exceeds the threshold.
REWARD = """
from tapo.rewards import last_boxed

def compute_score(data_source, solution_str, ground_truth, extra_info, scale):
    right = isinstance(ground_truth, int) and last_boxed(solution_str) == str(ground_truth)
    return {"score": scale * right, "acc": right, "unit": extra_info["tools_kwargs"]["unit"]}
"""


@dataclass(frozen=True)
class UserData:
    files: list
    reward: list


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """Two files with the same numbers for other queries, one row twice, and one row of an agent with tools."""
    folder = tmp_path_factory.mktemp("queries")
    sizes = ["--train", "8", "--test", "8", "--sampled", "40", "--seeded", "8", "--seed", "3"]
    run([sys.executable, COMMON / "make_data.py", EXAMPLE, folder, *sizes])
    rows = [row.to_dict() for _, row in pd.read_parquet(folder / "sampled.parquet").iterrows()]
    for number, row in enumerate(rows):
        # The model has never seen one, and constructs badly under it: half of the queries do without.
        row["prompt"] = [SYSTEM, *row["prompt"]] if number >= 20 else list(row["prompt"])
        row["reward_model"] = {"style": "rule", "ground_truth": int(row["reward_model"]["ground_truth"])}
        row["extra_info"] = {"index": number % 20, "tools_kwargs": {"unit": "apples"}}
        row["agent_name"] = "single_turn_agent"
    pd.DataFrame([*rows[:20], rows[3]]).to_parquet(folder / "one.parquet")
    pd.DataFrame([{**rows[0], "agent_name": "tool_agent"}, *rows[20:]]).to_parquet(folder / "two.parquet")
    (folder / "mine.py").write_text(REWARD)
    reward = ["--reward-path", folder / "mine.py", "--reward-kwarg", "scale=0.5", "--correct-key", "acc"]
    return UserData([folder / "one.parquet", folder / "two.parquet"], reward)


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory, user):
    return sample(user, tmp_path_factory.mktemp("whole") / "rollouts")


def sample(user, out, killed_when=None):
    options = ["--n", "4", "--max-tokens", "192", "--max-prompt-tokens", "120", "--at-once", "4", "--part-size", "4"]
    output = tapo(
        "rollout", *user.files, "--model", MODEL, "--out", out, *options, *user.reward, killed_when=killed_when
    )
    if not killed_when:
        assert "1 of 42 rows of" in output and "agent_name is not single_turn_agent (1 rows)" in output
        assert "repeat a query, which is sampled once" in output
    return out


def build(rollouts, out, user, killed_when=None):
    options = [
        *user.reward,
        "--prompt-file",
        PROMPT_FILE,
        "--sft",
        "30",
        "--ift",
        "20",
        "--val-share",
        "0.2",
        "--attempts",
        "2",
    ]
    options += ["--max-tokens", "288", "--max-model-len", "1024", "--max-response-tokens", "192"]
    options += ["--at-once", "4", "--part-size", "4"]
    tapo("cold-start", "build", rollouts, "--model", MODEL, "--out", out, *options, killed_when=killed_when)
    return out


@pytest.fixture(scope="module")
def chats(tmp_path_factory, rollouts, user):
    return build(rollouts, tmp_path_factory.mktemp("whole") / "chats", user)


def test_rollouts_killed_and_gone_on_with_are_those_of_an_unbroken_run(rollouts, user, tmp_path):
    sample(user, tmp_path / "r", killed_when=lambda: parts(tmp_path / "r") >= 2)
    before = list(RolloutStore.open(tmp_path / "r"))
    assert 8 <= len(before) < 40 and before == list(RolloutStore.open(rollouts))[: len(before)]
    sample(user, tmp_path / "r")
    after = list(RolloutStore.open(tmp_path / "r"))
    assert len(after) == 40 and after == list(RolloutStore.open(rollouts))
    assert {len(row.scores) for row in after} == {4}
    assert 0 < sum(sum(row.scores) for row in after) < 160


def test_the_filter_keeps_rows_as_they_were_and_chats_keep_the_system_prompt(rollouts, user, chats, tmp_path):
    data = [part for file in user.files for part in ("--data", file)]
    tapo("data", "filter", rollouts, *data, "--out", tmp_path / "rl.parquet", "--low", "0.25", "--high", "0.75")
    rows = [row for file in user.files for row in pq.read_table(file).to_pylist()]
    kept = pq.read_table(tmp_path / "rl.parquet").to_pylist()
    assert 0 < len(kept) < 42 and all(row in rows for row in kept)
    prompts = {row.prompt[-1]["content"]: list(row.prompt[:-1]) for row in RolloutStore.open(rollouts)}
    chats_of_queries = [
        chat
        for chat in pq.read_table(chats / "train.parquet")["messages"].to_pylist()
        if chat[-2]["content"] in prompts
    ]
    assert all(chat[:-2] == prompts[chat[-2]["content"]] for chat in chats_of_queries)
    assert {len(chat) for chat in chats_of_queries} == {2, 3}
    assert {row.scoring["ground_truth"] for row in RolloutStore.open(rollouts)} <= set(range(-1000, 1000))


def test_constructions_killed_and_gone_on_with_give_the_same_chats(rollouts, user, chats, tmp_path):
    store = tmp_path / "c" / "constructions"
    build(rollouts, tmp_path / "c", user, killed_when=lambda: parts(store) >= 2)
    before = len(list(ConstructionStore.open(store)))
    assert 8 <= before < 40 and not (tmp_path / "c" / "train.parquet").exists()
    build(rollouts, tmp_path / "c", user)
    assert list(ConstructionStore.open(store)) == list(ConstructionStore.open(chats / "constructions"))
    for split in ("train", "val"):
        assert pq.read_table(tmp_path / "c" / f"{split}.parquet") == pq.read_table(chats / f"{split}.parquet")


def test_the_model_constructs_on_real_rollouts_with_verbatim_prefixes(rollouts, chats):
    kept = {row.index: row.kept for row in ConstructionStore.open(chats / "constructions") if row.kept}
    assert len(kept) >= 10
    for row in RolloutStore.open(rollouts):
        if row.index in kept:
            record = kept[row.index]
            wrong = [text for text, score in zip(row.responses, row.scores, strict=True) if score == 0]
            assert record.prefix and any(text.startswith(record.prefix) for text in wrong)
            assert record.trajectory.endswith(f"\\boxed{{{row.ground_truth}}}")


def train(chats, out, *overrides, killed_when=None):
    config = EXAMPLE / "config" / "cold_start.yaml"
    variables = {"MODEL": MODEL, "DATA": chats, "OUT": out, "CONFIG": config, "NPROC": 1, "STEPS": 6}
    command = ["bash", ROOT / "run_scripts" / "cold_start_sft.sh", "trainer.total_training_steps=6"]
    command += ["data.train_batch_size=8", "trainer.save_freq=2", "optim.lr=1e-3", "trainer.total_epochs=5"]
    return run([*command, *overrides], killed_when, **{name: str(value) for name, value in variables.items()})


def test_sft_killed_and_gone_on_with_leaves_the_same_model_and_nothing_is_done_twice(chats, tmp_path):
    train(chats, tmp_path / "whole")
    reached = tmp_path / "broken" / "checkpoints" / "latest_checkpointed_iteration.txt"
    train(chats, tmp_path / "broken", killed_when=lambda: reached.exists())
    assert not (tmp_path / "broken" / "model").exists()
    train(chats, tmp_path / "broken")
    models = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "broken")]
    untrained = load_file(MODEL / "model.safetensors")
    moved = 0.0
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor)
        moved = max(moved, float((tensor.float() - untrained[name].float()).abs().max()))
    assert moved > 1e-3
    assert "is complete" in train(chats, tmp_path / "broken")
    with pytest.raises(AssertionError, match="was begun with another model, other data or other options"):
        train(chats, tmp_path / "broken", "optim.weight_decay=0.5")
