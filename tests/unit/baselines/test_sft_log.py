"""The log of an SFT baseline beside those of RL runs."""

import json

import pytest
from rich.console import Console

from tapo.baselines.sft.log import run_sft_log
from tapo.baselines.sft.options import SftLogOptions
from tapo.evaluation.training_logs import read_training_log
from tapo.files.markers import stage


def write_log(path, *records):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"step": step, "data": data}) + "\n" for step, data in records))


@pytest.fixture
def folders(tmp_path):
    steps = [
        (step, {"training/global_step": step, "response_length/mean": 10.0 * step, "critic/score/mean": 0.5})
        for step in (1, 2, 3)
    ]
    write_log(tmp_path / "source" / "metrics.jsonl", (0, {"val-core/d/acc/mean@4": 0.1}), *steps)
    sft = [(step, {"train/loss": 1.0 / step, "train/total_tokens(B)": step * 2e-7}) for step in (1, 2)]
    write_log(tmp_path / "sft" / "metrics.jsonl", *sft, (2, {"val/loss": 9.0}))
    write_log(tmp_path / "validated.jsonl", (0, {"val-core/d/acc/mean@4": 0.75, "timing_s/x": 3.0}))
    chats = tmp_path / "chats" / "train.parquet"
    chats.parent.mkdir()
    chats.write_text("chats")
    with stage(chats, {}) as report:
        report |= {"train": 12, "tokens_generated": 345}
    return tmp_path


def log_of(folders, **options):
    given = {"data": folders / "chats", "sft": folders / "sft", "validation": folders / "validated.jsonl"}
    run_sft_log(SftLogOptions(**given, out=folders / "out.jsonl", **options), Console(quiet=True))
    return read_training_log(folders / "out.jsonl", "sft").metrics


def test_its_steps_cost_what_the_runs_did_and_say_nothing_of_its_rewards(folders):
    metrics = log_of(folders, source=folders / "source", last_step=2)
    assert metrics["response_length/mean"] == {1: 10.0, 2: 20.0}
    assert "critic/score/mean" not in metrics and "timing_s/x" not in metrics
    learned = {key: values for key, values in metrics.items() if key.startswith(("sft/", "val-core/"))}
    assert learned == {
        "sft/chats": {2: 12},
        "sft/updates": {2: 2},
        "sft/loss": {2: 0.5},
        "sft/tokens": {2: 400},
        "sft/tokens_generated": {2: 345},
        "val-core/d/acc/mean@4": {2: 0.75},
    }


def test_several_sfts_stand_in_one_log(folders):
    log_of(folders, source=folders / "source", last_step=1)
    metrics = log_of(folders, source=folders / "source", last_step=3)
    assert metrics["sft/tokens"] == {1: 400, 3: 400} and metrics["response_length/mean"] == {1: 10, 2: 20, 3: 30}
    assert set(metrics["val-core/d/acc/mean@4"]) == {1, 3}


def test_without_a_run_the_model_stands_at_the_step_that_is_named(folders):
    metrics = log_of(folders, last_step=5)
    assert metrics["training/global_step"] == {5: 5} and metrics["sft/chats"] == {5: 12}


def test_a_run_that_has_not_come_so_far_is_refused(folders):
    with pytest.raises(ValueError, match=r"last_step = 4 cannot work: .* has 3 steps"):
        log_of(folders, source=folders / "source", last_step=4)
