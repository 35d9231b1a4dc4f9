"""The socket through which verl hands weights to its engine, where several runs share a machine."""

import logging
import os
from functools import wraps
from typing import Any

from tapo.platforms.patches import PatchError, target

logger = logging.getLogger(__name__)

MODULE = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"
RAYLET = "RAY_RAYLET_PID"
"""Set by Ray in each of its processes and inherited by the engine's: another one for each cluster on a machine."""


def tell_runs_apart(module: Any) -> None:
    """verl names the socket by Ray's job id, which is the same in the first job of any cluster: of two runs on one
    machine, each with a Ray of its own, one takes the other's socket, and both wait for ever, or load the other's
    weights. Here the name holds the cluster too."""
    try:
        for owner in (module.BucketedWeightSender, module.BucketedWeightReceiver):
            _name_cluster(owner)
    except (AttributeError, PatchError) as error:
        logger.warning("several runs on one machine may take each other's weights: %s", error)


def _name_cluster(owner: Any) -> None:
    init = target(owner, "__init__", ["self", "zmq_handle"], more=True)

    @wraps(init)
    def named(self: Any, zmq_handle: str, *args: Any, **kwargs: Any) -> None:
        cluster = os.environ.get(RAYLET)
        stem, dot, ending = zmq_handle.rpartition(".")
        init(self, f"{stem}-{cluster}{dot}{ending}" if cluster and stem else zmq_handle, *args, **kwargs)

    owner.__init__ = named
