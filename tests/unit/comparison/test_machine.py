from types import SimpleNamespace

import pytest

from tapo.comparison import machine
from tapo.comparison.plan import Room

GIB = 2**30


@pytest.fixture(autouse=True)
def a_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "cores_of_this_process", lambda: 8)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=26 * GIB))
    monkeypatch.setattr(machine, "STARTED_CLUSTER", tmp_path / "none")


@pytest.mark.parametrize(
    ("each", "environment", "at_once", "why"),
    [
        (Room(cores=2, memory_gib=1.0), {}, 4, "room for 4 at once in 8 cores"),
        (Room(cores=1, memory_gib=12.0), {}, 2, "room for 2 at once in 24 GiB of free memory"),
        (Room(cores=16, memory_gib=0.0), {}, 1, "room for 1 at once in 8 cores"),
        (Room(cores=1, memory_gib=0.0, gpus=2), {"CUDA_VISIBLE_DEVICES": "0,1,2,3,7"}, 2, "in 5 GPUs"),
        (Room(cores=1), {"RAY_ADDRESS": "10.0.0.1:6379"}, 1, "all share the Ray cluster 10.0.0.1:6379"),
        (Room(cores=4, memory_gib=1.0), {"RAY_ADDRESS": "local"}, 2, "8 cores"),
    ],
)
def test_as_many_run_at_once_as_the_scarcest_allows(each, environment, at_once, why):
    found, told = machine.room_for(each, environment)
    assert found == at_once and why in told


def test_a_cluster_that_ray_start_left_is_joined_by_all(monkeypatch, tmp_path):
    (tmp_path / "current").write_text("10.0.0.1:6379")
    monkeypatch.setattr(machine, "STARTED_CLUSTER", tmp_path / "current")
    assert machine.room_for(Room(), {})[0] == 1
    assert machine.ray_cluster({"RAY_ADDRESS": "local"}) is None


def test_more_gpus_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"each\.gpus = 2 cannot work: needs at most 1"):
        machine.room_for(Room(gpus=2), {"CUDA_VISIBLE_DEVICES": "3"})
