"""docs/your_own_task.md: the task on the page is built as the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from examples.common import make_data, pretrain, seed_rollouts, teacher, tokenizer
from examples.common.reward import compute_score
from examples.common.sample import construction_fault
from examples.common.task import load_module, load_task
from tapo.cli import app
from tapo.data.rollout_store import RolloutStore
from tapo.launch.checks import check_run
from tests.stand_ins.examples import EXAMPLES, SHIPPED

PAGE = (EXAMPLES.parent / "docs" / "your_own_task.md").read_text()
FILE = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOLUTION = "From the end, digit 1: 7.\nFrom the end, digit 2: 1.\nFrom the end, digit 3: 4.\n\\boxed{714}"
WRONG = SOLUTION.replace("2: 1", "2: 2").replace("714", "724")
MENDED = SOLUTION.replace("2: 1", "2: 2.\nWait, 2 is wrong.\nFrom the end, digit 2: 1")


def build(folder: Path) -> Path:
    for name, text in FILE.findall(PAGE):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("mine") / "reversal")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script's `main` with a command line, and returns what it prints."""

    def run_main(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    return run_main


def test_the_page_holds_the_files_of_a_task(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {"task.py", "quickstart.sh", "config/cold_start.yaml", "config/rl.yaml"}


def test_the_task_is_as_documented(folder):
    task = load_task(folder)
    problem = task.parse("Reverse 417.")
    assert (problem.answer, problem.query) == ("714", "Reverse 417.")
    module = load_module(folder, "task")
    assert module.response(problem.answer) == SOLUTION
    assert module.mended(problem, WRONG) == MENDED
    answer = f"<analysis>2 vs 1 differs.</analysis>\n<reconstruction>{MENDED}</reconstruction>"
    assert task.construction(problem, WRONG, SOLUTION) == answer
    assert construction_fault(problem, WRONG, answer, tokenizer.build_tokenizer(task)) is None
    assert [task.needless_reflection("Reverse 417.", text) for text in (SOLUTION, WRONG, MENDED)] == [False] * 3
    assert task.needless_reflection("Reverse 417.", MENDED.replace("2: 2", "2: 1"))


def test_from_the_task_file_to_the_cold_starts_chats(folder, tmp_path, run, monkeypatch):
    model, data = tmp_path / "model", tmp_path / "data"
    assert "tokens saved" in run(tokenizer, folder, tmp_path / "tokenizer")
    small = ["--steps", "3", "--rows", "4", "--problems", "2"]
    assert "step     3  loss" in run(pretrain, folder, model, *small)
    loaded = AutoTokenizer.from_pretrained(model)
    assert loaded.get_vocab() == AutoTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab()
    assert AutoModelForCausalLM.from_pretrained(model).config.vocab_size == len(loaded)

    run(make_data, folder, data, "--train", 20, "--test", 10, "--sampled", 10, "--seeded", 40, "--seed", 1)
    assert [len(pd.read_parquet(data / f"{name}.parquet")) for name in make_data.SPLITS] == [20, 10, 10, 40]
    store = tmp_path / "seeded"
    assert "40 queries" in run(seed_rollouts, folder, data / "seeded.parquet", store, "--model", model)
    assert "0 queries" in run(seed_rollouts, folder, data / "seeded.parquet", store, "--model", model)
    assert all(row.scores == [1.0, 1.0, 0.0, 0.0] for row in RolloutStore.open(store))

    monkeypatch.setenv("TASK", str(folder))
    teacher.task.cache_clear()
    common = EXAMPLES / "common"
    options = ["--model", model, "--out", tmp_path / "chats", "--answers", f"{common / 'teacher.py'}:answer"]
    options += ["--prompt-file", common / "construction_prompt.txt", "--sft", 16, "--ift", 16]
    result = CliRunner().invoke(app, ["cold-start", "build", str(store), *map(str, options)])
    assert result.exit_code == 0, result.output
    chats = pd.concat([pd.read_parquet(tmp_path / "chats" / f"{name}.parquet") for name in ("train", "val")])
    assert len(chats) == 32
    answers = [messages[-1]["content"] for messages in chats.messages]
    assert sum("<reconstruction>" in answer for answer in answers) == 16
    assert any("Wait, " in answer and "<reconstruction>" not in answer for answer in answers)


@pytest.mark.parametrize("name", ["cold_start", "rl"])
def test_its_configs_compose(folder, name, monkeypatch):
    for variable in ("MODEL", "DATA", "OUT", "TASK"):
        monkeypatch.setenv(variable, f"/{variable.lower()}")
    overrides = ["+tapo=[default,cpu]"] if name == "rl" else ["trainer.total_training_steps=5"]
    with initialize_config_dir(str(folder / "config"), version_base=None):
        config = compose(name, overrides=overrides)
    assert config.trainer.project_name == "tapo-reversal"
    if name == "rl":
        assert check_run(config).enable
        assert config.actor_rollout_ref.actor.ppo_mini_batch_size == config.data.train_batch_size == 16
        assert config.reward.custom_reward_function.reward_kwargs.task == "/task"


@pytest.mark.parametrize("task", SHIPPED, ids=lambda path: path.name)
def test_the_quickstart_finds_every_number_in_a_tasks_file(task, folder):
    script = (EXAMPLES.parent / "run_scripts" / "quickstart.sh").read_text()
    [declared] = re.findall(r"^(rl_steps=.*)$", script, re.MULTILINE)
    names = re.findall(r"(\w+)=", declared)
    assert len(names) == 7
    for path in (task, folder):
        lines = f'set -eu; COMMON=common; TEACHER=t; source {path}/quickstart.sh; printf "%s\\n" ' + " ".join(
            f'"${{{name}[0]}}"' for name in names
        )
        values = subprocess.run(["bash", "-c", lines], check=True, capture_output=True, text=True).stdout.splitlines()
        assert len(values) == len(names) and all(values)


def test_the_reward_says_beside_the_score_whether_a_reflection_was_needless(folder):
    def score(response):
        return compute_score("reversal", response, "714", {"query": "Reverse 417."}, task=str(folder))

    right, needless, wrong = (score(text) for text in (MENDED, MENDED.replace("2: 2", "2: 1"), WRONG))
    assert [(s["score"], s["needless_reflection"]) for s in (right, needless, wrong)] == [(1.0, 0), (1.0, 1), (0.0, 0)]
    assert list(right)[:2] == ["score", "acc"]
    with pytest.raises(ValueError, match="extra_info of data_source 'reversal' has no query"):
        compute_score("reversal", MENDED, "714", {"index": 1}, task=str(folder))


def test_what_is_no_task_is_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="is no task's folder"):
        load_task(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "task.py").write_text("TASKS = 1\n")
    with pytest.raises(ValueError, match=r"TASK is None, expected"):
        load_task(tmp_path / "empty")
    load_task(folder)
    with pytest.raises(ValueError, match="rename its folder"):
        load_task(build(tmp_path / "reversal"))


def test_a_teacher_without_its_task_says_so(monkeypatch):
    monkeypatch.delenv("TASK", raising=False)
    teacher.task.cache_clear()
    with pytest.raises(ValueError, match="TASK is not set"):
        teacher.answer("Reverse 417.", WRONG, SOLUTION, 1)


def test_more_problems_than_a_task_has_are_refused(folder, monkeypatch):
    monkeypatch.setattr(make_data, "MAX_REPEATS", 5)
    options = make_data.parse_arguments([str(folder), "unused", "--train", "100000"])
    with pytest.raises(ValueError, match="reversal has no 100000 further problems of the train split"):
        make_data.build_tables(options)
