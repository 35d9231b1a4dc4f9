"""How many runs the machine has room for, and what sets those apart that run at once."""

import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from tapo.comparison.plan import Room
from tapo.options import ConfigError

STARTED_CLUSTER = Path("/tmp/ray/ray_current_cluster")
"""Where `ray start` notes the cluster that programs of this machine join."""
RESERVE_GIB = 2.0
"""Of memory, left to everything else."""


def ray_cluster(environment: Mapping[str, str]) -> str | None:
    """The Ray cluster that runs will join; None where each starts its own.

    Args:
        environment: variables of the runs.
    """
    address = environment.get("RAY_ADDRESS") or ("auto" if STARTED_CLUSTER.exists() else "local")
    return None if address == "local" else address


def room_for(each: Room, environment: Mapping[str, str]) -> tuple[int, str]:
    """(how many runs at once, why so many).

    Args:
        each: what one run takes.
        environment: variables of the runs.

    Raises:
        ConfigError: fewer GPUs are there than one run takes.
    """
    if cluster := ray_cluster(environment):
        # verl's TransferQueue is one named actor a cluster: a second run would take the first one's for its own.
        return 1, f"all share the Ray cluster {cluster}, where verl can train one at a time"
    free_gib = psutil.virtual_memory().available / 2**30 - RESERVE_GIB
    cores = cores_of_this_process()
    room = {f"{cores} cores": cores // each.cores}
    if each.memory_gib:
        room[f"{free_gib:.0f} GiB of free memory"] = int(free_gib // each.memory_gib)
    if each.gpus:
        room[f"{len(gpus(environment))} GPUs"] = len(gpus(environment)) // each.gpus
        if len(gpus(environment)) < each.gpus:
            raise ConfigError("each.gpus", each.gpus, f"needs at most {len(gpus(environment))}, which are here")
    scarcest = min(room, key=room.__getitem__)
    return max(1, room[scarcest]), f"room for {max(1, room[scarcest])} at once in {scarcest}"


def cores_of_this_process() -> int:
    """Those that it may use, which may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(environment: Mapping[str, str]) -> list[str]:
    """Those that `CUDA_VISIBLE_DEVICES` names, else all."""
    if (named := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
