"""The examples' own configs: their optimiser and their reward in a real run."""

import json
import subprocess
import sys

from tests.e2e.harness import ENVIRONMENT, EXAMPLE, MODEL, end_group

OVERRIDES = [
    "+tapo=cpu",
    "data.train_batch_size=4",
    "data.val_max_samples=6",
    "actor_rollout_ref.rollout.n=4",
    "actor_rollout_ref.rollout.val_kwargs.n=2",
    "trainer.total_training_steps=1",
]


def test_a_run_of_an_example_trains_by_muon_and_dumps_needless_reflection(tmp_path, data):
    variables = {
        "TASK": EXAMPLE,
        "MODEL": MODEL,
        "DATA": data,
        "OUT": tmp_path,
        "VERL_FILE_LOGGER_PATH": tmp_path / "m",
    }
    command = [
        sys.executable,
        "-m",
        "verl.trainer.main_ppo",
        "--config-path",
        EXAMPLE / "config",
        "--config-name",
        "rl",
    ]
    process = subprocess.Popen(
        [*map(str, command), *OVERRIDES],
        cwd=tmp_path,
        env=ENVIRONMENT | {name: str(value) for name, value in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=400)
    finally:
        end_group(process.pid)
    assert process.returncode == 0, output[-6000:]
    rows = [json.loads(line) for path in (tmp_path / "validation").glob("*.jsonl") for line in path.open()]
    assert len(rows) == 2 * 6 * 2  # before the step and behind it
    assert {row["needless_reflection"] for row in rows} <= {0, 1}
    reflecting = [row for row in rows if "Wait, " in row["output"]]
    assert all(row["needless_reflection"] == 0 for row in rows if row not in reflecting)
    [first, last] = [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
    assert (
        first["val-aux/arithmetic/needless_reflection/mean@2"]
        == sum(row["needless_reflection"] for row in rows if row["step"] == 0) / 12
    )
    assert last["actor/grad_norm"] > 0 and last["actor/lr"] == 1e-3
