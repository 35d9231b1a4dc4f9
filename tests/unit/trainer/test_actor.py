"""The gradient norm of each loss by itself, through verl's own `train_batch`."""

import functools
from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.engine.base import BaseEngine
from verl.workers.engine_workers import TrainingWorker

from tapo.trainer.actor import GRAD_NORMS_FIELD, TapoTrainingWorker, same_random_numbers, without_update
from tapo.trainer.loss import PART_FIELD

GRADIENTS = {"rollouts": torch.tensor([3.0, 4.0]), "construct": torch.tensor([0.0, -2.0])}


class Engine:
    """A model of two parameters, with noise as dropout has it; the step of a batch is verl's own."""

    def __init__(self):
        self.weights = torch.nn.Parameter(torch.zeros(2))
        self.optimizer = torch.optim.AdamW([self.weights], lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.passes, self.drawn = [], []
        self.train_batch = functools.partial(BaseEngine.train_batch, self)

    def get_data_parallel_group(self):
        return None

    def is_mp_src_rank_with_outputs(self):
        return True

    def optimizer_zero_grad(self):
        self.optimizer.zero_grad()

    def forward_backward_batch(self, data, loss_function, forward_only):
        part = tu.get_non_tensor_data(data, key=PART_FIELD, default=None)
        self.passes.append((part, tu.get(data, "update_lr_scheduler")))
        self.drawn.append(torch.rand(1).item())
        gradient = GRADIENTS[part] if part else sum(GRADIENTS.values())
        (self.weights * gradient).sum().backward()
        return {"metrics": {}}

    def optimizer_step(self):
        norm = torch.nn.utils.clip_grad_norm_([self.weights], 1.0)
        self.optimizer.step()
        return norm


@pytest.fixture
def worker(monkeypatch):
    def train_batch(self, data):
        metrics = self.engine.train_batch(data, loss_function=None)["metrics"]
        output = TensorDict({}, batch_size=[])
        tu.assign_non_tensor(output, metrics={name: float(value) for name, value in metrics.items()})
        return output

    monkeypatch.setattr(TrainingWorker, "train_batch", train_batch)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *args, **kwargs: None)
    monkeypatch.setattr("tapo.trainer.actor.get_device_id", lambda: "cpu")
    monkeypatch.setattr("tapo.trainer.actor.get_device_name", lambda: "cpu")
    worker = object.__new__(TapoTrainingWorker)
    worker.engine = Engine()
    return worker


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
    state = worker.engine.optimizer.state[worker.engine.weights]
    return tu.get(output, "metrics"), worker.engine.weights.detach(), state


def test_the_norms_are_those_of_each_loss_and_the_update_is_the_same(worker):
    plain, weights, state = trained(worker)
    assert plain == {"grad_norm": pytest.approx(13**0.5)}
    drawn, worker.engine = worker.engine.drawn, Engine()
    metrics, measured, measured_state = trained(worker, **{GRAD_NORMS_FIELD: True})
    assert metrics == plain | {"tapo/grad_norm/rollouts": 5.0, "tapo/grad_norm/construct": 2.0}
    assert torch.equal(measured, weights)
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
