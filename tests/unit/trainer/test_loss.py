"""The combined loss against two separate ones, in verl's own loss code."""

from functools import partial

import pytest
import torch
from tensordict import TensorDict
from verl.trainer.config import RolloutCorrectionConfig
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

from tapo.trainer.loss import (
    KIND_FIELD,
    LAMBDA_FIELD,
    PART_FIELD,
    PARTS,
    REF_TOTALS_FIELD,
    ROLLOUT_TOKENS_FIELD,
    PerKindLoss,
    RefTotals,
    ref_totals,
    rollout_totals,
)

MODES = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
LENGTHS = [3, 5, 2, 4, 6]  # responses; prompts have two tokens
IS_REF = [False, True, False, False, True]
COUNTS = {ROLLOUT_TOKENS_FIELD: 9, REF_TOTALS_FIELD: RefTotals(tokens=11, rows=2, longest=6)}
OVER_ROLLOUTS = COUNTS | {REF_TOTALS_FIELD: RefTotals(tokens=None, rows=None, longest=4)}
CORRECTION = RolloutCorrectionConfig(bypass_mode=True, rollout_is="token")


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


def loss_function(mode, scale=7, policy_loss="vanilla", kl=True):
    config = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=2,
        ppo_micro_batch_size_per_gpu=1,
        loss_agg_mode=mode,
        loss_scale_factor=scale if mode.endswith("norm") else None,
        entropy_coeff=0.1 if kl else 0.0,
        use_kl_loss=kl,
        kl_loss_coef=0.3,
        policy_loss=PolicyLossConfig(loss_mode=policy_loss, rollout_correction=CORRECTION, dro_beta=0.1),
    )
    return partial(ppo_loss, config=config)


def gradient(loss_fn, rows, data):
    theta = torch.tensor([0.3, -0.2, 0.5, 0.1], requires_grad=True)
    loss, metrics = loss_fn(model_output=rows.outputs(theta), data=data)
    loss.backward()
    return loss.detach(), theta.grad, metrics


def combined_data(rows, weight=1.0, is_ref=IS_REF, counts=COUNTS):
    data = rows.data(tokens=20, rows=3)
    data[KIND_FIELD] = torch.tensor(is_ref)
    tu.assign_non_tensor(data, **{LAMBDA_FIELD: weight}, **counts)
    return data


def gradient_of_micro_batches(loss_fn, rows, groups, counts=COUNTS):
    """Sum over micro-batches, and of their metric `actor/ppo_kl`."""
    grad, kl = torch.zeros(4), 0.0
    for group in groups:
        part = rows.subset(group)
        data = combined_data(part, is_ref=[IS_REF[i] for i in group], counts=counts)
        _, of_part, metrics = gradient(loss_fn, part, data)
        grad += of_part
        kl += metrics["actor/ppo_kl"].aggregate() if "actor/ppo_kl" in metrics else 0.0
    return grad, kl


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("mode", MODES)
def test_the_combined_gradient_is_that_of_two_separate_losses(mode, weight):
    rows = Rows(LENGTHS)
    loss, grad, metrics = gradient(PerKindLoss(loss_function(mode)), rows, combined_data(rows, weight))

    rollouts, refs = rows.subset([0, 2, 3]), rows.subset([1, 4])
    loss_orig, grad_orig, metrics_orig = gradient(loss_function(mode), rollouts, rollouts.data(tokens=9, rows=3))
    loss_ref, grad_ref, _ = gradient(loss_function(mode), refs, refs.data(tokens=11, rows=2))
    torch.testing.assert_close(grad, grad_orig + weight * grad_ref)
    torch.testing.assert_close(loss, loss_orig + weight * loss_ref)
    assert grad_ref.abs().max() > 1e-3
    for name in ("actor/pg_loss", "actor/ppo_kl", "actor/pg_clipfrac", "kl_loss"):
        assert metrics[name].aggregate() == pytest.approx(metrics_orig[name].aggregate(), abs=1e-6), name


@pytest.mark.parametrize("counts", [COUNTS, OVER_ROLLOUTS], ids=["own", "rollouts"])
@pytest.mark.parametrize("mode", MODES)
def test_the_parts_by_themselves_add_up_to_the_combined_loss(mode, counts):
    rows, loss_fn = Rows(LENGTHS), PerKindLoss(loss_function(mode))
    _, whole, _ = gradient(loss_fn, rows, combined_data(rows, 0.25, counts=counts))
    alone = {}
    for part in PARTS:
        data = combined_data(rows, 0.25, counts=counts)
        tu.assign_non_tensor(data, **{PART_FIELD: part})
        alone[part] = gradient(loss_fn, rows, data)[1]
    torch.testing.assert_close(alone["rollouts"] + alone["construct"], whole)
    rollouts = rows.subset([0, 2, 3])
    _, expected, _ = gradient(loss_function(mode), rollouts, rollouts.data(tokens=9, rows=3))
    torch.testing.assert_close(alone["rollouts"], expected)


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("mode", MODES)
def test_over_the_rollouts_both_losses_have_the_rollouts_denominators(mode, weight):
    rows = Rows(LENGTHS)
    data = combined_data(rows, weight, counts=OVER_ROLLOUTS)
    loss, grad, _ = gradient(PerKindLoss(loss_function(mode)), rows, data)
    rollouts, refs = rows.subset([0, 2, 3]), rows.subset([1, 4])
    loss_orig, grad_orig, _ = gradient(loss_function(mode), rollouts, rollouts.data(tokens=9, rows=3))
    loss_ref, grad_ref, _ = gradient(loss_function(mode), refs, refs.data(tokens=9, rows=3))
    torch.testing.assert_close(grad, grad_orig + weight * grad_ref)
    torch.testing.assert_close(loss, loss_orig + weight * loss_ref)
    assert grad_ref.abs().max() > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_over_the_rollouts_with_lambda_one_it_is_one_grpo_loss_whose_scale_the_rollouts_set(mode):
    rows = Rows(LENGTHS)
    _, grad, _ = gradient(PerKindLoss(loss_function(mode)), rows, combined_data(rows, counts=OVER_ROLLOUTS))
    _, as_one, _ = gradient(loss_function(mode), rows, rows.data(tokens=9, rows=3))
    torch.testing.assert_close(grad, as_one)


@pytest.mark.parametrize("counts", [COUNTS, OVER_ROLLOUTS], ids=["own", "rollouts"])
@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_add_up_to_the_mini_batch(mode, counts):
    rows, loss_fn = Rows(LENGTHS), PerKindLoss(loss_function(mode))
    _, whole, metrics = gradient(loss_fn, rows, combined_data(rows, counts=counts))
    parts, kl = gradient_of_micro_batches(loss_fn, rows, [[i] for i in range(len(LENGTHS))], counts)
    torch.testing.assert_close(parts, whole)
    assert kl == pytest.approx(metrics["actor/ppo_kl"].aggregate(), abs=1e-6)


@pytest.mark.parametrize(
    ("counts", "longest", "tokens", "n_rows"), [(COUNTS, 6, 11, 2), (OVER_ROLLOUTS, 4, 9, 3)], ids=["own", "rollouts"]
)
def test_without_a_scale_factor_rows_are_divided_by_the_longest_of_those_that_they_are_normalised_over(
    counts, longest, tokens, n_rows
):
    rows = Rows(LENGTHS)
    mode = "seq-mean-token-sum-norm"
    _, grad, _ = gradient(PerKindLoss(loss_function(mode, scale=None)), rows, combined_data(rows, counts=counts))
    rollouts, refs = rows.subset([0, 2, 3]), rows.subset([1, 4])
    _, grad_orig, _ = gradient(loss_function(mode, scale=None), rollouts, rollouts.data(tokens=9, rows=3))
    _, grad_ref, _ = gradient(loss_function(mode, scale=longest), refs, refs.data(tokens=tokens, rows=n_rows))
    torch.testing.assert_close(grad, grad_orig + grad_ref)
    # A micro-batch without a rollout has the same divisor.
    parts, _ = gradient_of_micro_batches(
        PerKindLoss(loss_function(mode, scale=None)), rows, [[0, 2, 3], [1], [4]], counts
    )
    torch.testing.assert_close(parts, grad)


@pytest.mark.parametrize(("base", "scale"), [(COUNTS, 2), (OVER_ROLLOUTS, 1)], ids=["own", "rollouts"])
def test_a_loss_that_averages_by_itself_weighs_rollouts_as_in_grpo_and_constructed_rows_on_the_scale_asked_for(
    base, scale
):
    rows, loss_fn = Rows([3, 5, 2, 4, 6, 3]), loss_function("token-mean", policy_loss="geo_mean", kl=False)
    # Micro-batches of two rows: GRPO's rollouts 0, 2, 3 and 5 in two of them, and the constructed rows between.
    is_ref = [False, True, False, False, True, False]
    data_of = lambda group, counts: combined_data(  # noqa: E731
        rows.subset(group), is_ref=[is_ref[i] for i in group], counts=counts
    )
    counts = base | {ROLLOUT_TOKENS_FIELD: 12}
    grad = torch.zeros(4)
    for group in ([0, 1], [2, 3], [4, 5]):
        data = data_of(group, counts)
        tu.assign_non_tensor(data, global_batch_size=4)
        grad += gradient(PerKindLoss(loss_fn), rows.subset(group), data)[1]
    expected = torch.zeros(4)
    for group in ([0, 2], [3, 5]):
        part = rows.subset(group)
        expected += gradient(loss_fn, part, part.data(tokens=12, rows=4))[1]
    refs = rows.subset([1, 4])
    # `own`: the mean over the constructed rows, on the scale of the rollouts' mean: two micro-batches of means.
    # `rollouts`: each row weighs as a rollout, a half.
    expected += scale * gradient(loss_fn, refs, refs.data(tokens=11, rows=2))[1]
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize(
    ("counts", "tokens", "n_rows"), [(COUNTS, 11, 2), (OVER_ROLLOUTS, 9, 3)], ids=["own", "rollouts"]
)
@pytest.mark.parametrize("policy_loss", sorted(set(POLICY_LOSS_REGISTRY) - {"geo_mean"}))
def test_under_every_policy_loss_of_verl_micro_batches_of_one_kind_or_both_give_finite_gradients(
    policy_loss, counts, tokens, n_rows
):
    rows, loss_fn = Rows(LENGTHS), loss_function("token-mean", policy_loss=policy_loss)
    _, grad_ref, _ = gradient(loss_fn, rows.subset([1, 4]), rows.subset([1, 4]).data(tokens=tokens, rows=n_rows))
    _, grad_orig, _ = gradient(loss_fn, rows.subset([0, 2, 3]), rows.subset([0, 2, 3]).data(tokens=9, rows=3))
    separate, _ = gradient_of_micro_batches(PerKindLoss(loss_fn), rows, [[0, 2, 3], [1, 4]], counts)
    assert separate.isfinite().all()
    if policy_loss not in ("clip_cov", "kl_cov"):  # these draw or rank tokens
        torch.testing.assert_close(separate, grad_orig + grad_ref)
    mixed, _ = gradient_of_micro_batches(PerKindLoss(loss_fn), rows, [[0, 1], [2, 3, 4]], counts)
    assert mixed.isfinite().all() and mixed.abs().max() > 0


def test_the_shares_of_an_updates_constructed_rows_leave_padding_out():
    tags = [{"response_len": 5}, {"response_len": 7}, {"response_len": 1, "is_padding": True}]
    assert ref_totals(tags, mini_batches=4) == RefTotals(tokens=3.0, rows=0.5, longest=7)
    assert rollout_totals(tags) == RefTotals(tokens=None, rows=None, longest=7)


def test_without_constructed_rows_it_is_the_wrapped_loss_untouched():
    rows = Rows(LENGTHS)
    data = rows.data(tokens=20, rows=5)
    tu.assign_non_tensor_data(data, ROLLOUT_TOKENS_FIELD, 20)
    plain = rows.data(tokens=20, rows=5)
    loss, grad, metrics = gradient(PerKindLoss(loss_function("token-mean")), rows, data)
    loss_plain, grad_plain, metrics_plain = gradient(loss_function("token-mean"), rows, plain)
    assert torch.equal(loss, loss_plain) and torch.equal(grad, grad_plain)
    assert metrics.keys() == metrics_plain.keys()
