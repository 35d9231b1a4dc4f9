"""Notices that an agent-loop worker is gone, which verl does not: its prompts would be waited for, for ever."""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError


class WorkerGone(RuntimeError):
    """An agent-loop worker died while prompts were with it."""


class Watch:
    """Over a run's agent-loop workers.

    Args:
        workers: handles of actors of `TapoAgentLoopWorker`.
    """

    def __init__(self, workers: Sequence[Any]):
        # A call that is never answered ends with its actor.
        self._stays = {worker.stay.remote(): number for number, worker in enumerate(workers)}

    def check(self) -> None:
        """Cheap: asks nobody.

        Raises:
            WorkerGone: one of them died; says which and of what.
        """
        ended, _ = ray.wait(list(self._stays), num_returns=1, timeout=0) if self._stays else ([], [])
        for stay in ended:
            try:
                ray.get(stay)
            except RayActorError as error:
                raise WorkerGone(
                    f"agent-loop worker {self._stays[stay]} of {len(self._stays)} died, and its prompts with it: this"
                    " step cannot end. Start the run again, and it goes on from its last checkpoint"
                    f" (trainer.resume_mode=auto). What Ray says of it: {error}"
                ) from error


def watched(replay_buffer: Any, watch: Watch) -> Any:
    """verl's replay buffer, which looks at the workers each time that it waits for prompts."""
    wait = replay_buffer._wait_for_next_poll

    def checked(*args: Any, **kwargs: Any) -> Any:
        watch.check()
        return wait(*args, **kwargs)

    # On the object: its class is the user's to choose (trainer.v1.sampler.custom_sampler).
    replay_buffer._wait_for_next_poll = checked
    return replay_buffer
