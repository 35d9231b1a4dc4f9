"""The scripts around the commands, with stand-ins that note how they were called."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "run_scripts"
RECIPES = Path(__file__).parents[3] / "recipe" / "tapo" / "config"

TAPO = """#!/usr/bin/env bash
if [[ "$1 $2" == "recipe path" ]]; then echo "$RECIPES/$3.yaml"; exit; fi
echo "$*" >> "$CALLS"
while [[ $# -gt 0 ]]; do
  if [[ "$1" == --out ]]; then out="$2"; fi
  shift
done
if [[ "$out" == *.parquet ]]; then mkdir -p "$(dirname "$out")"; echo "$out" > "$out"; fi
if [[ "$out" == */chats ]]; then mkdir -p "$out"; echo t > "$out/train.parquet"; echo v > "$out/val.parquet"; fi
"""
PYTHON = """#!/usr/bin/env bash
echo "python $*" >> "$CALLS"
mkdir -p "$OUT/checkpoints/global_step_7/huggingface" "$OUT/validation"
echo "$MODEL" > "$OUT/validation/0.jsonl"
echo 7 > "$OUT/checkpoints/latest_checkpointed_iteration.txt"
echo "{}" > "$OUT/checkpoints/global_step_7/huggingface/config.json"
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script; returns (exit status, its output, the calls since the last run)."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("tapo", TAPO), ("python", PYTHON)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    calls = tmp_path / "calls"

    def call(script, *arguments, **variables):
        calls.write_text("")
        environment = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        environment |= {"CALLS": str(calls), "RECIPES": str(RECIPES), **variables}
        command = ["bash", SCRIPTS / script, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    return call


def test_the_cold_start_runs_its_stages_in_order_and_leaves_what_rl_takes(run, tmp_path):
    work = tmp_path / "w"
    status, output, calls = run("cold_start.sh", MODEL="m", WORK=str(work), ROLLOUT="--limit 5", SFT="optim.lr=1")
    assert status == 0, output
    starts = [" ".join(call.split()[:3]) for call in calls]
    assert starts == [
        "data prepare aime2024",
        "data prepare aime2025",
        "data prepare hmmt_feb_2025",
        "data prepare deepscaler",
        f"rollout {work}/data/train.parquet --model",
        f"data filter {work}/rollouts",
        f"cold-start build {work}/rollouts",
        "python -m tapo.training_progress",
        "python -m tapo.cold_start.taught_form",
    ]
    names = ("aime2024", "aime2025", "hmmt_feb_2025")
    assert " ".join(f"--against {work}/data/{name}.parquet" for name in names) in calls[3]
    assert calls[4].endswith("--n 8 --seed 1 --reward-threshold 0.5 --limit 5")
    assert calls[7].endswith("--config-name cold_start_sft optim.lr=1")
    assert (work / "rl" / "test.parquet").read_text() == f"{work}/data/aime2024.parquet\n"
    assert (work / "sft" / "model" / "config.json").exists()


def test_data_of_ones_own_takes_the_place_of_the_known_sets(run, tmp_path):
    (tmp_path / "own.parquet").write_text("own")
    variables = {"MODEL": "m", "WORK": str(tmp_path / "w"), "SOURCE": "problems.csv", "PREPARE": "--limit 3"}
    status, output, calls = run("cold_start.sh", EVAL=str(tmp_path / "own.parquet"), **variables)
    assert status == 0, output
    assert calls[0] == (
        f"data prepare custom --source problems.csv --out {tmp_path}/w/data/train.parquet "
        f"--against {tmp_path}/own.parquet --limit 3"
    )
    assert (tmp_path / "w" / "rl" / "test.parquet").read_text() == "own"


def test_a_verl_parquet_is_taken_as_it_is_with_its_reward_columns_and_template(run, tmp_path):
    work = f"{tmp_path}/w"
    variables = {
        "PARQUET": "one.parquet two.parquet",
        "REWARD": "--reward-path mine.py --reward-kwarg a=1",
        "KEYS": "--prompt-key question",
        "TEMPLATE": "enable_thinking=true level=2",
        "THRESHOLD": "0.7",
    }
    status, output, calls = run("cold_start.sh", MODEL="m", WORK=work, **variables)
    assert status == 0, output
    threshold = "--reward-threshold 0.7"
    template, reward = "--template enable_thinking=true --template level=2", variables["REWARD"]
    assert calls[:3] == [
        f"rollout one.parquet two.parquet --model m --out {work}/rollouts --n 8 --seed 1 {template} {threshold} "
        f"{reward} --prompt-key question",
        f"data filter {work}/rollouts --data one.parquet --data two.parquet --out {work}/rl/train.parquet "
        f"--allow-missing {threshold} --prompt-key question",
        f"cold-start build {work}/rollouts --model m --out {work}/chats --seed 1 {template} {threshold} {reward}",
    ]
    assert calls[3].endswith("--config-name cold_start_sft")
    assert not (tmp_path / "w" / "rl" / "test.parquet").exists()


def test_a_verl_parquet_without_a_reward_is_scored_by_verl_and_excludes_preparation(run, tmp_path):
    (tmp_path / "val.parquet").write_text("val")
    variables = {"MODEL": "m", "WORK": f"{tmp_path}/w", "PARQUET": "one.parquet"}
    status, output, calls = run("cold_start.sh", EVAL=f"{tmp_path}/val.parquet", **variables)
    assert status == 0, output
    for call in (calls[0], calls[2]):
        assert "--reward-path verl" in call and "--template none" in call
    assert (tmp_path / "w" / "rl" / "test.parquet").read_text() == "val"
    for name in ("SOURCE", "INSTRUCTION", "PREPARE"):
        status, output, calls = run("cold_start.sh", **variables, **{name: "x"})
        assert (status, calls) == (1, []) and "it excludes SOURCE, INSTRUCTION and PREPARE" in output
    status, output, calls = run("cold_start.sh", MODEL="m", WORK=f"{tmp_path}/w", KEYS="--prompt-key q")
    assert (status, calls) == (1, []) and "KEYS names columns of PARQUET" in output


def test_an_instruction_goes_to_training_and_evaluation_data_alike(run, tmp_path):
    status, output, calls = run("cold_start.sh", MODEL="m", WORK=f"{tmp_path}/w", INSTRUCTION="Answer: NUMBER")
    assert status == 0, output
    assert all("--instruction Answer: NUMBER" in call for call in calls[:4]) and calls[4].startswith("rollout")


def test_sft_is_skipped_when_complete_and_refused_with_other_data(run, tmp_path):
    chats = tmp_path / "chats"
    chats.mkdir()
    for split in ("train", "val"):
        (chats / f"{split}.parquet").write_text(split)
    variables = {"MODEL": "m", "DATA": str(chats), "OUT": str(tmp_path / "sft")}
    trained, noted = run("cold_start_sft.sh", **variables)[2]
    assert trained.startswith("python -m tapo.training_progress")
    written = f"{tmp_path}/sft/checkpoints/global_step_7/huggingface"
    assert noted == f"python -m tapo.cold_start.taught_form {chats}/train.parquet {written}"
    status, output, calls = run("cold_start_sft.sh", **variables)
    assert (status, calls) == (0, []) and "model is complete" in output
    (chats / "train.parquet").write_text("changed")
    status, output, calls = run("cold_start_sft.sh", **variables)
    assert (status, calls) == (1, []) and "was begun with another model, other data or other options" in output


@pytest.mark.parametrize(("script", "missing"), [("cold_start.sh", "MODEL"), ("cold_start_sft.sh", "DATA")])
def test_a_missing_variable_is_named(run, script, missing):
    variables = {"MODEL": "m"} if missing != "MODEL" else {}
    status, output, calls = run(script, **variables)
    assert status != 0 and missing in output and calls == []


def baseline(run, out, **variables):
    """As `run`, without what notes the form of chats that teach none."""
    given = {"RUN": "sft", "MODEL": "m", "DATA": "d", "CONFIG": "my.yaml", "STEPS": "4 9", "OUT": str(out)}
    status, output, calls = run("baseline_sft.sh", **(given | variables))
    return status, output, [call for call in calls if "tapo.cold_start.taught_form" not in call]


def test_an_sft_baseline_collects_once_and_learns_the_first_steps_of_each_number(run, tmp_path):
    (tmp_path / "my.yaml").write_text("x: 1\n")
    out = tmp_path / "b"
    status, output, calls = baseline(run, out, SFT="optim.lr=1", CHATS="--most 2", SEED="5")
    assert status == 0, output
    assert [" ".join(call.split()[:4]) for call in calls] == [
        f"python -m tapo.training_progress {out}/collected",
        *(
            start
            for n in (4, 9)
            for start in (
                f"baseline sft-data {out}/collected --data",
                f"python -m tapo.training_progress {out}/of_{n}/sft",
                f"python -m tapo.training_progress {out}/of_{n}/validated",
                f"baseline sft-log --source {out}/collected",
            )
        ),
    ]
    assert calls[0].split(" -- ")[1].startswith(f"bash {SCRIPTS}/launch.sh +tapo=default trainer.logger=[console,file]")
    assert f"algorithm.tapo.dump_dir={out}/collected/dump algorithm.tapo.lambda_ref=0" in calls[0]
    assert "data.seed=5 trainer.total_training_steps=9 trainer.test_freq=-1" in calls[0]
    assert calls[1] == (
        f"baseline sft-data {out}/collected --data d/train.parquet --model m --last-step 4 --kind constructed --seed 5 "
        f"--out {out}/of_4/chats --most 2"
    )
    assert calls[2].endswith("trainer.seed=5 optim.lr=1")
    assert "algorithm.tapo.enable=false trainer.val_only=true" in calls[3]
    found = {path.name: path.read_text().strip() for path in (out / "validation").iterdir()}
    assert found == {"0.jsonl": "m", "4.jsonl": f"{out}/of_4/sft/model", "9.jsonl": f"{out}/of_9/sft/model"}
    status, output, calls = baseline(run, out, SFT="optim.lr=1", CHATS="--most 2", SEED="5")
    assert status == 0 and {call.split()[1] for call in calls} == {"sft-data", "sft-log"}, output


def test_rejection_sampling_takes_a_finished_run_and_a_store_needs_none(run, tmp_path):
    variables = {"RUN": "rejection", "STEPS": "4", "CONFIG": "qwen3_8b_fsdp"}
    status, output, calls = baseline(run, tmp_path / "b", SOURCE="other", **variables)
    assert status == 0, output
    assert calls[0].startswith("baseline sft-data other --data d/train.parquet --model m --last-step 4 --kind correct")
    assert "launch.sh trainer.logger" in calls[2] and calls[3].startswith("baseline sft-log --source other")
    status, output, calls = baseline(run, tmp_path / "c", STORE="one two", **variables)
    assert status == 0, output
    assert calls[0].startswith("baseline sft-data one two --kind correct") and "--source" not in calls[3]
    status, output, calls = baseline(run, tmp_path / "d", RUN="opsd")
    assert (status, calls) == (1, []) and "RUN=opsd: allowed are sft, rejection" in output
