"""One setting, in a process of its own: its steps and what each cost."""

import os
import tempfile
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.at_scale.options import Scale

TRIES = 6
"""Of starting Ray."""


@dataclass
class Step:
    """What a step took.

    Attributes:
        simulated_s: seconds on the simulated clock, Python not among them.
        cpu_s: CPU seconds by kind of process; of workers and trainer without what the simulation took.
        peak_mib: of the largest process of each kind, so far.
        engine: what `SimulatedEngine.look` says.
        metrics: of the run.
    """

    begin: float
    simulated_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def own_s(self) -> float:
        """CPU seconds of the processes in which TAPO's code runs."""
        return self.cpu_s["workers"] + self.cpu_s["trainer"]

    @property
    def beside_s(self) -> float:
        """CPU seconds of verl's processes that store and score what those make."""
        return self.cpu_s.get("transfer", 0.0) + self.cpu_s.get("rewards", 0.0)

    @property
    def tail_s(self) -> float | None:
        """Simulated seconds from the last rollout's end to the last construction's."""
        last = self.engine["constructions_end"]
        return None if last is None else max(0.0, last - self.engine["rollouts_end"])


class Meter:
    """Looks at clock and processes around each step."""

    def __init__(self, engine: Any):
        self.steps: list[Step] = []
        self._engine = engine
        self.workers: list[Any] = []
        self.actor: Any = None

    def begin(self) -> None:
        """A step begins."""
        import ray

        ray.get(self._engine.look.remote())
        self._before = self._seconds()
        self.steps.append(Step(ray.get(self._engine.now.remote())))

    def end(self, metrics: dict[str, Any]) -> None:
        """A step has ended."""
        import ray

        from benchmarks.at_scale.costs import costs

        step, after = self.steps[-1], self._seconds()
        step.simulated_s = ray.get(self._engine.now.remote()) - step.begin
        step.cpu_s = {kind: seconds - self._before.get(kind, 0.0) for kind, seconds in after.items()}
        step.peak_mib = {kind: cost.peak_mib for kind, cost in costs().items()}
        step.engine = ray.get(self._engine.look.remote())
        step.metrics = {key: float(value) for key, value in metrics.items() if _is_number(value)}

    def _seconds(self) -> dict[str, float]:
        import ray

        from benchmarks.at_scale.costs import costs

        seconds = {kind: cost.seconds for kind, cost in costs().items()}
        seconds["workers"] = sum(ray.get([worker.cpu_seconds.remote() for worker in self.workers]))
        seconds["trainer"] -= self.actor.seconds
        return seconds


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def run_setting(name: str, scale: Scale, steps: int, deadline_s: float) -> list[dict[str, Any]]:
    """The steps of a setting, as `Step` in plain containers; this process should do nothing else."""
    os.environ |= {"VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "90")
    with tempfile.TemporaryDirectory(prefix="at_scale_") as folder:
        return [asdict(step) for step in _run(name, scale, folder, steps, deadline_s)]


def _run(name: str, scale: Scale, folder: str, steps: int, deadline_s: float) -> list[Step]:
    # Imported here: verl reads the environment that was just set.
    from pathlib import Path

    import ray
    import transfer_queue as tq
    from omegaconf import OmegaConf
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    from benchmarks.at_scale.settings import compose_run
    from benchmarks.at_scale.task import write_task

    write_task(Path(folder), scale.queries, scale.seed)
    config = compose_run(name, scale, folder, steps=steps, deadline_s=deadline_s)
    config.transfer_queue.enable = True
    OmegaConf.resolve(config)
    runtime = OmegaConf.to_container(OmegaConf.create(get_ppo_ray_runtime_env(config)))
    runtime["env_vars"] = {**runtime.get("env_vars", {}), "TRANSFER_QUEUE_ENABLE": "1"}
    start_ray(f"{folder}/ray", runtime)
    try:
        tq.init(config.transfer_queue)
        return _train(config, scale)
    finally:
        tq.close()
        ray.shutdown()


def start_ray(folder: str, runtime: dict[str, Any]) -> None:
    """Start a Ray of one's own, as many times as it takes."""
    import ray

    for number in range(TRIES):
        try:
            # The CPUs are declared, not counted, as in `+tapo=cpu`.
            ray.init(
                num_cpus=64, num_gpus=16, include_dashboard=False, _temp_dir=f"{folder}{number}", runtime_env=runtime
            )
            return
        except Exception:
            # Ray says no more than that it failed: on a busy machine its raylet waits too short for its own agent.
            ray.shutdown()
            if number == TRIES - 1:
                raise


def _train(config: Any, scale: Scale) -> list[Step]:
    import ray
    from verl.workers.rollout.router import get_router_handle

    from benchmarks.at_scale.engine import SimulatedEngine
    from benchmarks.at_scale.link import ReplicaHandle, SimulatedClient
    from benchmarks.at_scale.settings import templates
    from benchmarks.at_scale.trainer import SimulatedTrainer
    from benchmarks.at_scale.worker import SimulatedManager
    from tapo.config import read_tapo_config

    model = config.actor_rollout_ref.model.path
    engine = (
        ray.remote(SimulatedEngine)
        .options(max_concurrency=100_000)
        .remote(scale, model, templates(read_tapo_config(config)), scale.workers + 1)
    )
    servers = {f"replica_{i}": ReplicaHandle(engine, i) for i in range(scale.devices)}
    client = SimulatedClient(config=config, load_balancer_handle=get_router_handle(servers=servers))
    meter = Meter(engine)
    trainer = SimulatedTrainer(config, engine, client, scale, meter.begin, meter.end)
    trainer.init()
    manager = SimulatedManager.create(
        config=trainer.config,
        llm_client=client,
        teacher_client=None,
        reward_loop_worker_handles=trainer.get_reward_handles(),
    )
    manager.attach(engine)
    meter.workers, meter.actor = manager.agent_loop_workers, trainer.actor_rollout_wg
    trainer.fit(manager)
    return meter.steps
