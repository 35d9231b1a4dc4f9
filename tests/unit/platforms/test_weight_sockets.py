"""Two runs on one machine, each with a Ray of its own, do not meet at one socket."""

from types import SimpleNamespace

import pytest

from tapo.platforms.weight_sockets import RAYLET, tell_runs_apart

HANDLE = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"


def ends():
    class Sender:
        def __init__(self, zmq_handle, bucket_size_mb=512, use_shm=False):
            self.zmq_handle, self.use_shm = zmq_handle, use_shm

    class Receiver:
        def __init__(self, zmq_handle, device, use_shm=False):
            self.zmq_handle, self.device = zmq_handle, device

    return SimpleNamespace(BucketedWeightSender=Sender, BucketedWeightReceiver=Receiver)


@pytest.mark.parametrize(("raylet", "wanted"), [("12", HANDLE.replace(".sock", "-12.sock")), ("", HANDLE)])
def test_the_socket_is_named_by_the_cluster_on_both_ends(monkeypatch, raylet, wanted):
    monkeypatch.setenv(RAYLET, raylet)
    module = ends()
    tell_runs_apart(module)
    sender = module.BucketedWeightSender(HANDLE, 8, use_shm=True)
    receiver = module.BucketedWeightReceiver(zmq_handle=HANDLE, device="cpu")
    assert (sender.zmq_handle, sender.use_shm, receiver.zmq_handle, receiver.device) == (wanted, True, wanted, "cpu")


def test_another_verl_is_left_alone_and_named(caplog):
    tell_runs_apart(SimpleNamespace())
    assert "may take each other's weights" in caplog.text
