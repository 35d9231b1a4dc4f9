"""What looks at the cluster and at its actors, on a real Ray."""

import os
import subprocess
import sys

import pytest
from ray.cluster_utils import Cluster

from tapo import __version__
from tests.e2e.harness import ROOT

DRIVER = """
import sys
import ray
from tapo.launch.cluster import check_cluster
ray.init(address=sys.argv[1], log_to_driver=False)
check_cluster(*map(float, sys.argv[2:]))
"""

WATCHES = """
import asyncio, os, signal, sys, time
from types import SimpleNamespace
import ray
from tapo.rollout.watch import Watch, WorkerGone, watched

@ray.remote(num_cpus=0)
class Worker:
    async def stay(self):
        await asyncio.Event().wait()
    async def pid(self):
        return os.getpid()

ray.init(address=sys.argv[1], log_to_driver=False)
workers = [Worker.remote() for _ in range(3)]
pids = ray.get([worker.pid.remote() for worker in workers])
buffer = watched(SimpleNamespace(_wait_for_next_poll=lambda *args: args), Watch(workers))
assert buffer._wait_for_next_poll("train", 1.5) == ("train", 1.5)
os.kill(pids[1], signal.SIGKILL)
ends_at = time.monotonic() + 30
try:
    while time.monotonic() < ends_at:
        buffer._wait_for_next_poll("train", 1.5)
        time.sleep(0.1)
except WorkerGone as gone:
    print(gone)
"""


class Nodes:
    """A Ray cluster on this machine, each node with a PYTHONPATH of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "env_vars": {"PYTHONPATH": str(ROOT)}})
        (folder / "driver.py").write_text(DRIVER)

    def add(self, name, text, cpus=1):
        """A node whose tapo is `text`."""
        (self.folder / name / "tapo").mkdir(parents=True)
        (self.folder / name / "tapo" / "__init__.py").write_text(text)
        self.ray.add_node(num_cpus=cpus, env_vars={"PYTHONPATH": str(self.folder / name)})

    def check(self, *timeout):
        """What a run on the head node would say; a process elsewhere, since workers share its folder with it."""
        command = [sys.executable, "driver.py", self.ray.address, *map(str, timeout)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.ray.shutdown()


def test_nodes_that_lack_the_plugin_or_have_another_version_are_named(nodes):
    assert nodes.check() == ""
    # verl places no worker on a node without CPUs.
    nodes.add("idle", "raise ImportError('no tapo here')", cpus=0)
    assert nodes.check() == ""
    nodes.add("old", "__version__ = '0.0.1'")
    nodes.add("without", "raise ImportError('no tapo here')")
    said = nodes.check()
    assert f"TAPO needs tapo-verl {__version__} on every node of the Ray cluster, as here." in said
    assert said.count("has tapo 0.0.1") == 1 and said.count("no tapo here") == 1


def test_a_worker_that_dies_ends_the_wait_for_its_prompts(nodes):
    command = [sys.executable, "-c", WATCHES, nodes.ray.address]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "agent-loop worker 1 of 3 died, and its prompts with it" in said
    assert "trainer.resume_mode=auto" in said and "The actor died unexpectedly" in said


def test_a_node_that_does_not_answer_in_time_is_named(nodes):
    assert "no answer within 0 s" in nodes.check(0.001)
