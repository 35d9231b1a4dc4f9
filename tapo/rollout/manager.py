"""The agent-loop manager that `rollout.agent.agent_loop_manager_class` names."""

from typing import Any

import ray
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ

from tapo.launch.contract import assert_registered
from tapo.rollout.worker import TapoAgentLoopWorker


class TapoAgentLoopManager(AgentLoopManagerTQ):
    """verl's manager over workers that construct."""

    def __init__(self, *args: Any, **kwargs: Any):
        # A run that has come here without its trainer would train as without TAPO.
        assert_registered()
        super().__init__(*args, **kwargs)
        # After super().__init__, which sets verl's own worker class.
        self.agent_loop_workers_class = ray.remote(TapoAgentLoopWorker)
