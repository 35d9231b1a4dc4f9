"""Starts a run of the soak, looks at its processes while it works, and kills it or parts of it."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.e2e.harness import ROLLOUTS, ROOT, end_group, options, tapo_options
from tests.soak.chance import FOLDER, STEPS_FILE
from tests.soak.faults import TIMEOUT_S

PROMPTS = 6
"""A step."""
SAVED_EVERY = 5
PATIENCE_S = 240
"""Within which a start has trained a step, and a run whose worker died has ended."""
_TITLE = re.compile(r"ray::\w+|VLLM::\w+|raylet|gcs_server|verifier_child")


@dataclass
class Sample:
    """What a run's processes of one kind hold, after a step."""

    step: int
    kind: str
    number: int
    memory_mib: float
    open_files: int


@dataclass
class SoakRun:
    """One run, started as often as it is killed.

    Args:
        folder: of its files; an empty one.
        data: of the example, `train.parquet` and `test.parquet`.
        mode: one of verl's trainer modes.
        steps: of it in all.
    """

    folder: Path
    data: Path
    mode: str
    steps: int
    seed: int = 0
    samples: list[Sample] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def to_the_end(self) -> None:
        """Unbroken, but for its verifier's children, of which one is killed a step."""
        code = self._start(kill_after=None, target=None)
        if code != 0:
            self.wrong.append(f"the run ended with {code}")

    def with_kills(self, kills: int) -> None:
        """Killed as a whole at random times and, once, in a worker, and started again until it is done."""
        draw = random.Random(self.seed)
        for number in range(kills):
            target = "worker" if number == kills // 2 else "run"
            code = self._start(kill_after=draw.uniform(5, 90), target=target)
            if code == 0:  # done before its time came
                return
            if target == "worker" and "WorkerGone" not in self.log():
                self.wrong.append("a run whose worker was killed did not say so")
        self.to_the_end()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def line(self) -> list[str]:
        common = [one for one in options(self.folder, self.data) if not one.startswith(("+tapo", "data.shuffle"))]
        return [
            *tapo_options(self.folder),
            *common,
            f"trainer.v1.trainer_mode={self.mode}",
            f"trainer.total_training_steps={self.steps}",
            "trainer.total_epochs=1000",
            f"trainer.save_freq={SAVED_EVERY}",
            "trainer.max_actor_ckpt_to_keep=2",
            "trainer.resume_mode=auto",
            "data.shuffle=true",
            f"data.seed={self.seed}",
            f"data.train_batch_size={PROMPTS}",
            f"actor_rollout_ref.actor.ppo_mini_batch_size={PROMPTS}",
            # Slowly, so that there are wrong answers to the last step.
            "actor_rollout_ref.actor.optim.lr=1e-6",
            "actor_rollout_ref.rollout.max_model_len=1024",
            "actor_rollout_ref.rollout.agent.agent_loop_manager_class=tests.soak.faults.SoakManager",
            f"algorithm.tapo.construction.timeout_s={TIMEOUT_S}",
            "reward.custom_reward_function.path=pkg://tests.soak.reward",
        ]

    def _start(self, kill_after: float | None, target: str | None) -> int | None:
        """One start; its exit code, None where it was killed.

        Args:
            kill_after: seconds behind its first step.
            target: `run`, or `worker`: an agent-loop worker, at which the run is to end by itself.
        """
        variables = os.environ | {
            "VERL_PLATFORM": "cpu",
            "VERL_FILE_LOGGER_PATH": str(self.folder / "metrics.jsonl"),
            "VERL_USE_EXTERNAL_MODULES": "tests.soak.witness",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            FOLDER: str(self.folder),
        }
        command = [sys.executable, "-m", "verl.trainer.main_ppo", *self.line()]
        with (self.folder / "log").open("a") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        seen: dict[int, psutil.Process] = {}
        begun, at_start, looked_at = time.monotonic(), self._lines(), self._lines()
        first_step_at = last_step_at = None
        try:
            while (code := process.poll()) is None:
                time.sleep(0.5)
                now, lines = time.monotonic(), self._lines()
                kinds = processes_of(process.pid, seen)
                if lines > looked_at:
                    looked_at, last_step_at = lines, now
                    first_step_at = first_step_at or now
                    self._look(self._step(), kinds)
                    self._kill(kinds["verifier_child"][:1], "verifier's child")
                if now - (last_step_at or begun) > PATIENCE_S:
                    self.wrong.append(f"no step for {PATIENCE_S} s behind line {lines}, begun at {at_start}")
                    return None
                if kill_after is not None and first_step_at and now - first_step_at > kill_after:
                    if target == "run":
                        self.kills["run"] += 1
                        return None
                    self._kill(kinds["ray::AgentLoopWorkerTQ"] or kinds["ray::SoakWorker"], "agent-loop worker")
                    kill_after = None
            return code
        finally:
            end_group(process.pid)
            self._await_end(seen)

    def _lines(self) -> int:
        path = self.folder / STEPS_FILE
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def _step(self) -> int:
        return int(re.findall(rb'^\{"step": (\d+)', (self.folder / STEPS_FILE).read_bytes(), re.M)[-1])

    def _look(self, step: int, kinds: dict[str, list[psutil.Process]]) -> None:
        for kind, processes in kinds.items():
            with contextlib.suppress(psutil.Error):
                memory = sum(process.memory_info().rss for process in processes) / 2**20
                files = sum(process.num_fds() for process in processes)
                self.samples.append(Sample(step, kind, len(processes), memory, files))

    def _kill(self, processes: list[psutil.Process], name: str) -> None:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                self.kills[name] += 1

    def _await_end(self, seen: dict[int, psutil.Process]) -> None:
        _, left = psutil.wait_procs(list(seen.values()), timeout=60)
        for process in left:
            with contextlib.suppress(psutil.Error):
                self.wrong.append(f"left behind: {process.cmdline()[:3]}")
                process.kill()


def processes_of(pid: int, seen: dict[int, psutil.Process]) -> dict[str, list[psutil.Process]]:
    """A run's processes by kind; all that were ever met are remembered in `seen`."""
    kinds = defaultdict(list)
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                seen.setdefault(process.pid, process)
                title = _TITLE.search(" ".join(process.cmdline()))
                if title:
                    kinds[title[0]].append(process)
    return kinds


__all__ = ["PROMPTS", "ROLLOUTS", "Sample", "SoakRun"]
