"""The examples' own configs: their optimiser and their reward in a real run."""

import json
import subprocess
import sys

import pytest
import torch

from tests.e2e.harness import ENVIRONMENT, EXAMPLE, MODEL, end_group

COMMAND = [sys.executable, "-m", "verl.trainer.main_ppo", f"--config-path={EXAMPLE / 'config'}", "--config-name=rl"]
OVERRIDES = [
    "+tapo=cpu",
    "data.train_batch_size=4",
    "data.val_max_samples=6",
    "actor_rollout_ref.rollout.n=4",
    "actor_rollout_ref.rollout.val_kwargs.n=2",
    "trainer.total_training_steps=1",
    "trainer.save_freq=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """One step of GRPO with validation before and behind it."""
    folder = tmp_path_factory.mktemp("example")
    variables = {"TASK": EXAMPLE, "MODEL": MODEL, "DATA": data, "OUT": folder}
    variables["VERL_FILE_LOGGER_PATH"] = folder / "metrics.jsonl"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, *OVERRIDES],
            cwd=folder,
            env=ENVIRONMENT | {name: str(value) for name, value in variables.items()},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout=400)
        finally:
            end_group(process.pid)
    assert process.returncode == 0, (folder / "log").read_text()[-6000:]
    return folder


def test_validation_dumps_say_of_every_response_whether_it_reflects_needlessly(run):
    dumps = {int(path.stem): path.read_text().splitlines() for path in (run / "validation").glob("*.jsonl")}
    assert {step: len(lines) for step, lines in dumps.items()} == {0: 12, 1: 12}
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for step, lines in dumps.items():
        rows = [json.loads(line) for line in lines]
        assert all(row["needless_reflection"] in ((0, 1) if "Wait, " in row["output"] else (0,)) for row in rows)
        mean = sum(row["needless_reflection"] for row in rows) / len(rows)
        [reported] = [
            record["data"][key]
            for record in metrics
            for key in ("val-aux/arithmetic/needless_reflection/mean@2",)
            if record["step"] == step and key in record["data"]
        ]
        assert reported == pytest.approx(mean)


def test_muon_gets_the_layers_matrices_and_adamw_the_rest(run):
    [path] = (run / "checkpoints").rglob("optim_*.pt")
    states = torch.load(path, weights_only=False)["state"]
    layers, matrices, norms = 4, 7, 4
    assert len(states["muon"]["state"]) == layers * matrices
    adam = [tuple(state["exp_avg"].shape) for state in states["adam"]["state"].values()]
    assert len(adam) == 1 + layers * norms + 1
    assert [shape for shape in adam if len(shape) == 2] == [(137, 128)]
