"""The combined loss against two separate ones, in verl's own loss code."""

from functools import partial

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig
from verl.workers.utils.losses import ppo_loss

from tapo.trainer.loss import COUNTS_FIELD, KIND_FIELD, LAMBDA_FIELD, MiniBatchCounts, PerKindLoss

MODES = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
LENGTHS = [3, 5, 2, 4, 6]  # responses; prompts have two tokens
IS_REF = [False, True, False, False, True]


def nested(rows):
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


class Rows:
    """Random rows whose log-probs are a function of one parameter vector."""

    def __init__(self, lengths, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.lengths = lengths
        self.features = [torch.randn(n + 2, 4, generator=generator) for n in lengths]
        self.old = [-torch.rand(n, generator=generator) for n in lengths]
        self.ref = [-torch.rand(n, generator=generator) for n in lengths]
        self.advantages = [torch.randn(n, generator=generator) for n in lengths]

    def subset(self, indices):
        part = object.__new__(Rows)
        for name, values in vars(self).items():
            setattr(part, name, [values[i] for i in indices])
        return part

    def data(self, *, tokens, rows, **extra):
        ones = [torch.ones(n, dtype=torch.int64) for n in self.lengths]
        data = TensorDict(
            {
                "prompts": nested([torch.ones(2, dtype=torch.int64) for _ in self.lengths]),
                "responses": nested(ones),
                "response_mask": nested(ones),
                "old_log_probs": nested(self.old),
                "ref_log_prob": nested(self.ref),
                "advantages": nested(self.advantages),
            },
            batch_size=[len(self.lengths)],
        )
        tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=tokens, global_batch_size=rows, **extra)
        return data

    def outputs(self, theta):
        logits = [features @ theta for features in self.features]
        return {
            "log_probs": nested([torch.nn.functional.logsigmoid(row) for row in logits]),
            "entropy": nested([torch.sigmoid(row) for row in logits]),
        }


def loss_function(mode):
    config = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=2,
        ppo_micro_batch_size_per_gpu=1,
        loss_agg_mode=mode,
        loss_scale_factor=7 if mode.endswith("norm") else None,
        entropy_coeff=0.1,
        use_kl_loss=True,
        kl_loss_coef=0.3,
    )
    return partial(ppo_loss, config=config)


def gradient(loss_fn, rows, data):
    theta = torch.tensor([0.3, -0.2, 0.5, 0.1], requires_grad=True)
    loss, metrics = loss_fn(model_output=rows.outputs(theta), data=data)
    loss.backward()
    return loss.detach(), theta.grad, metrics


def combined_data(rows, counts, weight):
    data = rows.data(tokens=counts.rollout_tokens + counts.ref_tokens, rows=3)
    data[KIND_FIELD] = torch.tensor(IS_REF)
    tu.assign_non_tensor(data, **{LAMBDA_FIELD: weight})
    tu.assign_non_tensor_data(data, COUNTS_FIELD, counts)
    return data


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("mode", MODES)
def test_the_combined_gradient_is_that_of_two_separate_losses(mode, weight):
    rows = Rows(LENGTHS)
    counts = MiniBatchCounts(rollout_tokens=9, ref_tokens=11, ref_rows=2)
    loss, grad, metrics = gradient(PerKindLoss(loss_function(mode)), rows, combined_data(rows, counts, weight))

    rollouts, refs = rows.subset([0, 2, 3]), rows.subset([1, 4])
    loss_orig, grad_orig, metrics_orig = gradient(loss_function(mode), rollouts, rollouts.data(tokens=9, rows=3))
    loss_ref, grad_ref, _ = gradient(loss_function(mode), refs, refs.data(tokens=11, rows=2))
    torch.testing.assert_close(grad, grad_orig + weight * grad_ref)
    torch.testing.assert_close(loss, loss_orig + weight * loss_ref)
    assert grad_ref.abs().max() > 1e-3
    for name in ("actor/pg_loss", "actor/ppo_kl", "actor/pg_clipfrac", "kl_loss"):
        assert metrics[name].aggregate() == pytest.approx(metrics_orig[name].aggregate(), abs=1e-6), name


@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_add_up_to_the_mini_batch(mode):
    rows = Rows(LENGTHS)
    counts = MiniBatchCounts(rollout_tokens=9, ref_tokens=11, ref_rows=2)
    loss_fn = PerKindLoss(loss_function(mode))
    _, whole, metrics = gradient(loss_fn, rows, combined_data(rows, counts, 1.0))
    parts = torch.zeros(4)
    kl = 0.0
    for i in range(len(LENGTHS)):
        data = combined_data(rows, counts, 1.0)
        micro = rows.subset([i]).data(tokens=20, rows=3)
        micro[KIND_FIELD] = data[KIND_FIELD][i : i + 1]
        tu.assign_non_tensor(micro, **{LAMBDA_FIELD: 1.0})
        tu.assign_non_tensor_data(micro, COUNTS_FIELD, counts)
        _, grad, micro_metrics = gradient(loss_fn, rows.subset([i]), micro)
        parts += grad
        kl += micro_metrics["actor/ppo_kl"].aggregate()
    torch.testing.assert_close(parts, whole)
    assert kl == pytest.approx(metrics["actor/ppo_kl"].aggregate(), abs=1e-6)


def test_without_constructed_rows_it_is_the_wrapped_loss_untouched():
    rows = Rows(LENGTHS)
    data = rows.data(tokens=20, rows=5)
    tu.assign_non_tensor_data(data, COUNTS_FIELD, MiniBatchCounts(20, 0, 0))
    plain = rows.data(tokens=20, rows=5)
    loss, grad, metrics = gradient(PerKindLoss(loss_function("token-mean")), rows, data)
    loss_plain, grad_plain, metrics_plain = gradient(loss_function("token-mean"), rows, plain)
    assert torch.equal(loss, loss_plain) and torch.equal(grad, grad_plain)
    assert metrics.keys() == metrics_plain.keys()
