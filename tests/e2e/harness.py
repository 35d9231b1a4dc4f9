"""Runs the real `verl.trainer.main_ppo` on the CPU in a process of its own, and reads what it left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tapo.records import ConstructionRecord, RecordReader, TrainedRecord

ROOT = Path(__file__).resolve().parents[2]
# The quickstart's cold start at seed 1, in bfloat16.
MODEL = ROOT / "tests" / "data" / "cold_started_model"
EXAMPLE = ROOT / "examples" / "arithmetic"
COMMON = ROOT / "examples" / "common"
PROMPT_FILE = COMMON / "construction_prompt.txt"
PROMPTS, ROLLOUTS, MINI_BATCH = 12, 8, 6
UPDATES_PER_STEP = PROMPTS // MINI_BATCH
ENVIRONMENT = os.environ | {
    "VERL_PLATFORM": "cpu",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}",
}
"""Of the commands and scripts that a user starts."""


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its output, and one dict of metrics per step."""

    folder: Path
    log: str
    steps: dict[int, dict[str, float]]

    def constructions(self) -> list[dict[str, Any]]:
        return [record.model_dump() for record in RecordReader(self.folder / "dump", ConstructionRecord)]

    def trained(self) -> list[dict[str, Any]]:
        return trained_rows(self.folder / "dump")


def trained_rows(dump: Path) -> list[dict[str, Any]]:
    return [record.model_dump() for record in RecordReader(dump, TrainedRecord)]


def options(folder: Path, data: Path, words: str = "cpu") -> list[str]:
    """A launch line as a user has it, without a word of TAPO's but these of the config group."""
    return [
        f"+tapo=[{words}]",
        "algorithm.adv_estimator=grpo",
        f"data.train_files={data}/train.parquet",
        f"data.val_files={data}/test.parquet",
        "data.max_prompt_length=96",
        "data.max_response_length=192",
        f"data.train_batch_size={PROMPTS}",
        "data.shuffle=false",
        f"actor_rollout_ref.model.path={MODEL}",
        f"actor_rollout_ref.rollout.n={ROLLOUTS}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={MINI_BATCH}",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=8192",
        "actor_rollout_ref.actor.optim.lr=1e-4",
        "reward.custom_reward_function.path=pkg://tapo.rewards",
        "reward.custom_reward_function.name=compute_score",
        "trainer.logger=[console,file]",
        "trainer.val_before_train=false",
        "trainer.resume_mode=disable",
        f"trainer.default_local_dir={folder}/checkpoints",
        f"trainer.rollout_data_dir={folder}/rollouts",
    ]


def tapo_options(folder: Path) -> list[str]:
    """What turns the line into TAPO, with the prompt of the example's cold start."""
    return [
        "+tapo=[default,cpu]",
        f"algorithm.tapo.construction.prompt_file={PROMPT_FILE}",
        "algorithm.tapo.n_pos=1",
        "algorithm.tapo.n_neg=1",
        f"algorithm.tapo.dump_dir={folder}/dump",
    ]


def launch(
    folder: Path,
    data: Path,
    *overrides: str,
    tapo: bool = True,
    words: str = "cpu",
    config: Sequence[str] = (),
    timeout_s: float = 600,
    check: bool = True,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Run:
    """One run; its whole process group is ended when it does not end by itself.

    Args:
        config: arguments of Hydra's that choose another config than verl's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics = folder / "metrics.jsonl"
    variables = os.environ | {
        "VERL_PLATFORM": "cpu",
        "VERL_FILE_LOGGER_PATH": str(metrics),
        "PYTHONPATH": str(ROOT),  # the fault managers of the tests
        "HYDRA_FULL_ERROR": "1",
        **environment,
    }
    line = options(folder, data, words)
    if tapo:
        line = [*tapo_options(folder), *line[1:]]
    command = [sys.executable, "-m", "verl.trainer.main_ppo", *config, *line, *overrides]
    with (folder / "log").open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = "time-out"
        finally:
            end_group(process.pid)
    log = (folder / "log").read_text(errors="replace")
    assert not check or code == 0, f"main_ppo ended with {code}:\n{log[-6000:]}"
    steps = {}
    if metrics.exists():
        for line in metrics.read_text().splitlines():
            record = json.loads(line)
            steps[record["step"]] = record["data"]
    return Run(folder, log, steps)


def end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
