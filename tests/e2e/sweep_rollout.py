"""The rollout side of a sweep over settings."""

from typing import Any

import ray

from tapo.rollout.manager import TapoAgentLoopManager
from tapo.rollout.worker import TapoAgentLoopWorker
from tests.e2e.sweep import sweep_worker


class SweepManager(TapoAgentLoopManager):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(sweep_worker(TapoAgentLoopWorker))
