"""`tapo compare` with two real runs of main_ppo at once, killed in the middle and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from tests.e2e.harness import ENVIRONMENT, ROOT, options, tapo_options

STEPS = 2


def plan(out, data):
    line = [word for word in options("{out}", data) if not word.startswith(("+tapo", "trainer.resume_mode"))]
    line += ["data.seed={seed}", "trainer.total_training_steps={steps}", "trainer.test_freq=1", "trainer.save_freq=1"]
    line += [
        "trainer.val_before_train=true",
        "trainer.resume_mode=auto",
        "trainer.validation_data_dir={out}/validation",
    ]
    return {
        "statement": "Whether two runs at once keep apart, and go on where they were killed.",
        "out": str(out),
        "seeds": [1],
        "steps": STEPS,
        "against": "grpo",
        "at_once": 2,
        "resamples": 100,
        "environment": {"VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": 1},
        "command": ["python", "-m", "verl.trainer.main_ppo", *line],
        "runs": {"grpo": {"overrides": ["+tapo=cpu"]}, "tapo": {"overrides": tapo_options("{out}")}},
    }


def start(path, log):
    command = [sys.executable, "-m", "tapo.cli", "compare", str(path)]
    variables = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=path.parent, env=variables, stdout=log, stderr=subprocess.STDOUT)


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.5)
    return found


def descendants(process):
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


@pytest.mark.slow
def test_two_runs_at_once_are_killed_and_gone_on_with(tmp_path, data):
    path, out = tmp_path / "plan.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(plan(out, data)))
    with (tmp_path / "first.log").open("w") as log:
        first = start(path, log)
        checkpoint = out / "tapo" / "seed-1" / "checkpoints" / "latest_checkpointed_iteration.txt"
        wait_for(lambda: checkpoint.exists() or first.poll() is not None, 500)
        assert first.poll() is None, (tmp_path / "first.log").read_text()[-4000:]
        started = descendants(first)
        assert len(started) > 10  # two of everything that verl starts
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    wait_for(lambda: not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE], 60)
    with (tmp_path / "second.log").open("w") as log:
        second = start(path, log)
        assert second.wait(500) == 0, (tmp_path / "second.log").read_text()[-6000:]
    log = (out / "tapo" / "seed-1" / "log").read_text()
    assert log.count("Started a local Ray instance") == 2 and "setting global step to" in log
    report = json.loads((out / "report" / "report.json").read_text())
    (section,) = report["sections"]
    assert report["missing"] == {}
    for name in ("grpo", "tapo"):
        run = section["runs"][name]
        assert {"0", "2"} <= run["accuracies"].keys() and run["step"] == STEPS
        spent = [run["costs"][step]["1"] for step in ("0", "1", "2")]
        assert spent[0]["generated"] == 0 < spent[1]["generated"] < spent[2]["generated"]
        assert spent[1]["seconds"] < spent[2]["seconds"]
    metrics = [
        json.loads(line)["data"]
        for file in sorted((out / "tapo" / "seed-1").glob("metrics*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    rollouts = [json.loads(line) for line in (out / "tapo" / "seed-1" / "rollouts" / "2.jsonl").open()]
    assert rollouts and metrics
    assert section["runs"]["tapo"]["at_equal_steps"]["at"] == "step 2"
