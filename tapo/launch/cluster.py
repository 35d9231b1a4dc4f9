"""Whether every node of the Ray cluster carries this plugin, in this version."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tapo import __version__

PROBE_TIMEOUT_S = 120.0
"""Seconds for all nodes together; a node that is still fetching its runtime environment takes a while."""


class ClusterError(RuntimeError):
    """Nodes that cannot take part in a run."""


def check_cluster(timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Ask every node that verl may place a worker on whether it has the plugin.

    verl deals its agent-loop workers to all nodes in turn, and each process imports `tapo` from its own node.

    Raises:
        ClusterError: names each node that lacks tapo-verl, or has another version of it or of verl.
    """
    wanted = {"tapo": __version__, "verl": importlib.metadata.version("verl")}
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    probes = {_probe_on(node["NodeID"]): _name(node) for node in nodes}
    ready, late = ray.wait(list(probes), num_returns=len(probes), timeout=timeout_s)
    faults = {probes[probe]: f"no answer within {timeout_s:.0f} s" for probe in late}
    faults |= {probes[probe]: fault for probe in ready if (fault := _fault(probe, wanted))}
    if faults:
        listed = "; ".join(f"{node}: {fault}" for node, fault in sorted(faults.items()))
        raise ClusterError(
            f"TAPO needs tapo-verl {__version__} on every node of the Ray cluster, as here. {listed}. Install it there "
            "in the environment of verl, or ship it with ray_kwargs.ray_init.runtime_env."
        )


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"


def _probe_on(node_id: str) -> ray.ObjectRef:
    # Nested, so that it travels by value: a node without tapo could not import it.
    def versions() -> dict[str, str]:
        import importlib.metadata

        import tapo

        return {"tapo": tapo.__version__, "verl": importlib.metadata.version("verl")}

    where = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return ray.remote(versions).options(num_cpus=0, max_retries=0, scheduling_strategy=where).remote()


def _fault(probe: ray.ObjectRef, wanted: Mapping[str, str]) -> str:
    """What keeps a node that has answered out of the run; empty for nothing."""
    try:
        found = ray.get(probe)
    except ray.exceptions.RayTaskError as error:
        return str(error.cause)
    except ray.exceptions.RayError as error:
        return type(error).__name__
    other = [f"{package} {version}" for package, version in found.items() if version != wanted[package]]
    return f"has {', '.join(other)}" if other else ""
