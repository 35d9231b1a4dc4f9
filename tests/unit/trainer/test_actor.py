"""The gradient norm of each loss by itself, through verl's own `train_batch`."""

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from verl.utils import tensordict_utils as tu
from verl.workers.engine.fsdp.transformer_impl import FSDPEngine
from verl.workers.engine_workers import TrainingWorker

from tapo.trainer.actor import GRAD_NORMS_FIELD, TapoTrainingWorker, same_random_numbers, without_update
from tapo.trainer.loss import PART_FIELD

GRADIENTS = {"rollouts": torch.tensor([3.0, 4.0]), "construct": torch.tensor([0.0, -2.0])}


class Engine(FSDPEngine):
    """verl's engine with a model of two parameters, and noise as dropout has it in place of its forward pass."""

    def __init__(self, sharded):
        self.module = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.zeros_(self.module.weight)
        if sharded:
            fully_shard(self.module, mesh=init_device_mesh("cpu", (1,)))
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.optimizer_config, self._qat_enabled = SimpleNamespace(clip_grad=1.0), False
        self.passes, self.drawn = [], []

    def get_data_parallel_group(self):
        return None

    def is_mp_src_rank_with_outputs(self):
        return True

    def forward_backward_batch(self, data, loss_function, forward_only):
        part = tu.get_non_tensor_data(data, key=PART_FIELD, default=None)
        self.passes.append((part, tu.get(data, "update_lr_scheduler")))
        self.drawn.append(torch.rand(1).item())
        gradient = GRADIENTS[part] if part else sum(GRADIENTS.values())
        self.module(gradient).sum().backward()
        return {"metrics": {}}


@pytest.fixture
def one_process(tmp_path):
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def worker(monkeypatch, one_process):
    def train_batch(self, data):
        metrics = self.engine.train_batch(data, loss_function=None)["metrics"]
        output = TensorDict({}, batch_size=[])
        tu.assign_non_tensor(output, metrics={name: float(value) for name, value in metrics.items()})
        return output

    monkeypatch.setattr(TrainingWorker, "train_batch", train_batch)
    for name in ("tapo.trainer.actor.get_device_id", "tapo.trainer.actor.get_device_name"):
        monkeypatch.setattr(name, lambda: "cpu")
    monkeypatch.setattr("verl.utils.fsdp_utils.get_device_id", lambda: "cpu")
    return object.__new__(TapoTrainingWorker)


def mini_batch(**fields):
    mask = torch.nested.as_nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged)
    data = TensorDict({"loss_mask": mask, "input_ids": mask.clone()}, batch_size=[2])
    tu.assign_non_tensor_stack(data, "uid", ["u", "u_ref"])
    tu.assign_non_tensor(data, update_lr_scheduler=True, **fields)
    return data


def trained(worker, **fields):
    torch.manual_seed(0)
    for _ in range(3):
        output = worker.train_batch(mini_batch(**fields))
    weights = worker.engine.module.weight
    state = {"weights": weights, **worker.engine.optimizer.state[weights]}
    return tu.get(output, "metrics"), {name: whole(value.detach()) for name, value in state.items()}


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "fsdp2"])
def test_the_norms_are_those_of_each_loss_and_the_update_is_the_same(worker, sharded):
    worker.engine = Engine(sharded)
    plain, state = trained(worker)
    assert plain == {"grad_norm": pytest.approx(13**0.5)} and state["weights"].abs().max() > 0.1
    drawn, worker.engine = worker.engine.drawn, Engine(sharded)
    metrics, measured_state = trained(worker, **{GRAD_NORMS_FIELD: True})
    assert metrics == plain | {"tapo/grad_norm/rollouts": 5.0, "tapo/grad_norm/construct": 2.0}
    assert all(torch.equal(measured_state[name], state[name]) for name in state)
    assert worker.engine.passes == [("rollouts", False), ("construct", False), (None, True)] * 3
    assert worker.engine.drawn[2::3] == drawn


def test_an_optimiser_steps_again_behind_a_pass_that_failed():
    steps, state = [], {"scale": 2.0}
    engine = SimpleNamespace(optimizer=SimpleNamespace(step=lambda: steps.append(1)), scaler=None)
    engine.scaler = SimpleNamespace(state_dict=lambda: dict(state), load_state_dict=state.update)
    with pytest.raises(RuntimeError), without_update(engine):
        engine.optimizer.step()
        state["scale"] = 4.0
        raise RuntimeError
    engine.optimizer.step()
    assert steps == [1] and state == {"scale": 2.0}


def test_random_numbers_are_those_that_would_have_been_drawn(monkeypatch):
    monkeypatch.setattr("tapo.trainer.actor.get_device_name", lambda: "cpu")
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with same_random_numbers():
        torch.rand(7)
    assert torch.equal(torch.rand(2), expected)
