import io
import json
import sys

import pytest
from rich.console import Console

from tapo import training_progress
from tapo.training_progress import RunWatch, describe, run_showing_progress


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(training_progress, "POLL_S", 0.02)


def test_a_loss_that_is_no_number_is_left_out_of_the_line():
    assert describe({"train/loss": 0.5, "val/loss": None}) == "loss 0.500"


def test_a_command_shows_its_steps_and_a_failure_its_log(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    line = json.dumps({"step": 1, "data": {"critic/score/mean": 0.25}})
    script = f"print('the reason'); open({str(metrics)!r}, 'w').write({line!r} + chr(10)); raise SystemExit(3)"
    out = Console(file=io.StringIO(), width=160)
    assert run_showing_progress(tmp_path, 2, "run", [sys.executable, "-c", script], out) == 3
    text = out.file.getvalue()
    assert "run: step 1 of 2, reward 0.250" in text
    assert "the reason" in text and "status 3" in text


def test_steps_of_an_earlier_run_are_not_shown_and_those_of_the_new_one_are(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    old, new = (json.dumps({"step": step, "data": {"critic/score/mean": 0.25}}) + "\n" for step in (7, 1))
    metrics.write_text(3 * old)
    script = f"import time; time.sleep(0.2); open({str(metrics)!r}, 'w').write({new!r}); time.sleep(0.2)"
    out = Console(file=io.StringIO(), width=160)
    assert run_showing_progress(tmp_path, 2, "run", [sys.executable, "-c", script], out) == 0
    assert [text for text in out.file.getvalue().splitlines() if "of 2" in text] == ["run: step 1 of 2, reward 0.250"]


def test_a_line_that_is_still_being_written_is_shown_once_when_it_is_whole(tmp_path):
    line = json.dumps({"step": 1, "data": {"critic/score/mean": 0.25}})
    script = f"""
import time
with open({str(tmp_path / "metrics.jsonl")!r}, "w") as file:
    for part in ({line[:9]!r}, {line[9:]!r}, chr(10), {line.replace("1", "2", 1)!r} + chr(10)):
        file.write(part)
        file.flush()
        time.sleep(0.1)
"""
    out = Console(file=io.StringIO(), width=160)
    assert run_showing_progress(tmp_path, 2, "run", [sys.executable, "-c", script], out) == 0
    shown = [text for text in out.file.getvalue().splitlines() if "of 2" in text]
    assert shown == ["run: step 1 of 2, reward 0.250", "run: step 2 of 2, reward 0.250"]


def test_what_the_log_says_is_being_started_is_shown_before_the_first_step(tmp_path):
    lines = [
        "2026 INFO worker.py:2038 -- Started a local Ray instance.",
        "(TaskRunnerV1 pid=1) INFO: actor and ref model engine initialized",
        "(TaskRunnerV1 pid=1) dataset len: 96",  # Ray brings what was printed later than what was logged
        "(TaskRunnerV1 pid=1) INFO: all initialize finished, ready to fit",
    ]
    script = f"import time\nfor line in {lines!r}: print(line, flush=True); time.sleep(0.1)"
    out = Console(file=io.StringIO(), width=160)
    assert run_showing_progress(tmp_path, 2, "run", [sys.executable, "-c", script], out) == 0
    assert out.file.getvalue().splitlines() == [
        f"run: starting, its output goes to {tmp_path / 'log'}",
        "run: Ray is up, verl is being loaded",
        "run: starting the rollout engine",
        "run: everything is up, the first responses are sampled",
    ]


def test_a_scripts_headings_are_shown_and_each_begins_the_stages_anew(tmp_path):
    watch = RunWatch(tmp_path)
    with (tmp_path / "log").open("w", buffering=1) as log:
        log.write("\n\x1b[1m== 4/6 Cold start\x1b[0m\nLoading weights: 0%\n")
        assert watch.doing() == "loading the model"
        log.write("Loading weights: 100%\n")
        assert watch.doing() == ""
        log.write("\n\x1b[1m== 5/6 GRPO\x1b[0m\nhalf a li")
        assert watch.doing() == "5/6 GRPO"
        log.write("ne: create worker group\n")
        assert watch.doing() == "loading the model"


def test_what_an_earlier_attempt_logged_is_passed_over(tmp_path):
    (tmp_path / "log").write_text("Saving checkpoint\n")
    watch = RunWatch(tmp_path)
    assert watch.doing() == "" and list(watch.steps()) == []
