"""Ten seeded faults, each of which is found, named, and told what to do about."""

import subprocess
import sys

import pytest
from rich.console import Console

from tapo.doctor import environment
from tapo.doctor.command import findings, run_doctor
from tapo.doctor.finding import Level
from tapo.doctor.options import DoctorOptions
from tests.e2e.harness import COMMON, ENVIRONMENT, EXAMPLE, options


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    sizes = ["--train", "24", "--test", "8", "--sampled", "8", "--seeded", "8"]
    subprocess.run([sys.executable, COMMON / "make_data.py", EXAMPLE, folder, *sizes], check=True, env=ENVIRONMENT)
    return folder


@pytest.fixture
def line(data, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return ["python", "-m", "verl.trainer.main_ppo", "+tapo=[default,cpu]", *options(tmp_path, data)[1:]]


def look(*line, **given):
    found = list(findings(DoctorOptions(line=tuple(line), **given), Console(quiet=True)))
    faults = {one.what: one for one in found if one.level is Level.FAULT}
    assert all(one.do for one in faults.values())
    return found, faults


def test_a_sound_run_has_no_fault(line):
    found, faults = look(*line)
    assert faults == {}
    said = {one.what: one.said for one in found if one.level is Level.OK}
    assert said["reward"] == "pkg://tapo.rewards:compute_score knows 3 answers of the data, and no answer from one"
    assert said["run"] == "of 8 rollouts at least 2 right and 4 wrong, 4 constructions a group"
    assert said["prompts"].startswith("24 prompts of at most ")
    assert {one.what for one in found if one.level is Level.SKIPPED} == {"cluster", "constructing"}


REWARDS = """
def zero(data_source, solution_str, ground_truth, extra_info=None):
    return 0.0
def one(data_source, solution_str, ground_truth, extra_info=None):
    return 1.0
def breaks(data_source, solution_str, ground_truth, extra_info=None):
    raise KeyError("answer")
"""
REWARD = "reward.custom_reward_function"


@pytest.mark.parametrize(
    ("changes", "what", "said"),
    [
        pytest.param(["data.no_such_key=1"], "launch line", "no_such_key", id="a key that is none"),
        pytest.param(["algorithm.adv_estimator=gae"], "run", "it needs a critic", id="a critic"),
        pytest.param(["actor_rollout_ref.rollout.n=1"], "run", "a lone rollout has no sibling", id="one rollout"),
        pytest.param(["data.train_files=/none/such.parquet"], "data", "/none/such.parquet is not there", id="no data"),
        pytest.param(["data.prompt_key=question"], "data", "question", id="a column that is none"),
        pytest.param(
            ["data.max_prompt_length=20"],
            "prompts",
            "of 24 are longer than data.max_prompt_length = 20",
            id="prompts too long",
        ),
        pytest.param([f"{REWARD}.name=zero"], "reward", "the data's own answer for wrong, in 3 of 3", id="never right"),
        pytest.param([f"{REWARD}.name=one"], "reward", "takes 'I do not know.' for right", id="always right"),
        pytest.param([f"{REWARD}.name=breaks"], "reward", "raised KeyError: 'answer'", id="a reward that raises"),
        pytest.param(["actor_rollout_ref.model.path=/none"], "model", "actor_rollout_ref.model.path", id="no model"),
    ],
)
def test_a_seeded_fault_is_found(changes, what, said, line, tmp_path):
    if changes[0].startswith(REWARD):
        (tmp_path / "rewards.py").write_text(REWARDS)
        changes = [*changes, f"{REWARD}.path={tmp_path}/rewards.py"]
    _, faults = look(*line, *changes)
    assert said in faults[what].said


def test_a_run_without_the_group_or_switched_off_is_named(line):
    plain = [word for word in line if not word.startswith("+tapo")]
    _, faults = look(*plain, dry=True)
    assert faults["run"].do == "append +tapo=default"
    found, faults = look(*line, "algorithm.tapo.enable=false", dry=True)
    assert faults == {} and any("this is the run without TAPO" in one.said for one in found)


def test_another_program_and_versions_that_were_not_tested_are_named(monkeypatch):
    _, faults = look("bash", "run.sh")
    assert "needs `python -m verl.trainer.main_ppo" in faults["launch line"].said
    monkeypatch.setattr(environment, "installed_versions", lambda: {"verl": "0.12.0", "torch": "9"})
    found, faults = look("bash", "run.sh")
    (warned,) = [one for one in found if one.level is Level.WARNING]
    assert warned.said == "verl 0.12.0 (tested: 0.9.1)"
    assert faults["engine"].do.startswith('pip install "verl[vllm]"')


def test_what_does_not_fit_is_a_warning_with_what_to_turn(line):
    big = [*line, "actor_rollout_ref.model.path=Qwen/Qwen3-8B", "data.max_response_length=16384"]
    found, faults = look(*big, dry=True)
    said = [one for one in found if one.what == "plan"]
    assert faults == {} and any("training takes" in one.said for one in said)
    assert all(one.level is Level.WARNING and "tapo plan shows the parts" in one.do for one in said)


def test_a_cluster_that_does_not_answer_is_named(line, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    (found,) = environment.look_at_cluster(None)
    assert found.level is Level.FAULT and found.said == "nothing answers at 127.0.0.1:1"


def test_the_command_prints_a_line_a_finding_and_ends_with_a_status(line):
    console = Console(record=True, width=200)
    with pytest.raises(SystemExit) as ended:
        run_doctor(DoctorOptions(line=(*line, "actor_rollout_ref.rollout.n=1"), dry=True), console)
    assert ended.value.code == 1
    text = console.export_text()
    assert "fault   run: actor_rollout_ref.rollout.n = 1 cannot work" in text
    assert "        -> change actor_rollout_ref.rollout.n" in text and "1 faults, " in text
    run_doctor(DoctorOptions(line=tuple(line), dry=True), Console(quiet=True))
