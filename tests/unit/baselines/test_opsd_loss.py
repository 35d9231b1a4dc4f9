"""The two calls of a distillation, as verl's engine makes them, in verl's own loss code."""

from functools import partial

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig
from verl.workers.utils.losses import ppo_loss

from tapo.baselines.opsd.divergence import token_divergence, top_k_log_probs
from tapo.baselines.opsd.loss import (
    DIVERGENCE,
    IDS_FIELD,
    LOG_PROBS_FIELD,
    LOSS_FIELD,
    MASK_FIELD,
    TEACHER_FIELD,
    DivergenceLoss,
    OpsdLoss,
    TeacherPass,
)

PROMPTS, RESPONSES, VOCABULARY, K = (2, 3), (3, 1), 5, 3
TOKENS = sum(PROMPTS) + sum(RESPONSES)
BATCH_TOKENS = 11
"""Of the mini-batch, of which this micro-batch holds 4."""


def nested(rows):
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def micro_batch(advantage=0.0, taught=(1, 1), **settings):
    lengths = [p + r for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    teacher = top_k_log_probs(random(TOKENS, VOCABULARY, seed=1), K)
    ones = [torch.ones(n, dtype=torch.int64) for n in RESPONSES]
    fields = {
        "prompts": nested(torch.ones(n, dtype=torch.int64) for n in PROMPTS),
        "responses": nested(ones),
        "response_mask": nested(ones),
        "old_log_probs": nested(torch.full((n,), -1.0) for n in RESPONSES),
        "advantages": nested(torch.full((n,), advantage) for n in RESPONSES),
        MASK_FIELD: nested(mask * of for mask, of in zip(ones, taught, strict=True)),
        LOG_PROBS_FIELD: nested(teacher[0].split(lengths)),
        IDS_FIELD: nested(teacher[1].split(lengths)),
    }
    data = TensorDict(fields, batch_size=[2])
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=BATCH_TOKENS, global_batch_size=3, **settings)
    return data


def loss_function(mode="token-mean"):
    config = FSDPActorConfig(strategy="fsdp2", rollout_n=2, ppo_micro_batch_size_per_gpu=1, loss_agg_mode=mode)
    return OpsdLoss(partial(ppo_loss, config=config))


def two_calls(loss_fn, data, logits_TV):
    """As `FSDPEngineWithLMHead.forward_step`."""
    offsets = torch.tensor([0, PROMPTS[0] + RESPONSES[0], TOKENS])
    outputs = loss_fn(student_logits=logits_TV.unsqueeze(0), data=data)
    jagged = {name: torch.nested.nested_tensor_from_jagged(v.squeeze(0), offsets) for name, v in outputs.items()}
    log_probs = torch.log_softmax(logits_TV, dim=-1)[:, 0]
    model_output = jagged | {"log_probs": torch.nested.nested_tensor_from_jagged(log_probs, offsets)}
    loss, metrics = loss_fn(model_output=model_output, data=data, dp_group=None)
    return loss, metrics, model_output


def of_responses(per_token_T):
    """At the position in front of each response token stands what is said of it."""
    return per_token_T[[1, 2, 3, 7]]


@pytest.mark.parametrize("taught", [(1, 1), (1, 0), (0, 0)])
def test_an_update_adds_the_divergence_of_the_taught_tokens_over_the_tokens_of_all(taught):
    settings = DivergenceLoss("reverse", coefficient=0.5, clip=None)
    data, logits = micro_batch(taught=taught, **{LOSS_FIELD: settings}), random(TOKENS, VOCABULARY, seed=0)
    loss, metrics, _ = two_calls(loss_function(), data, logits)
    teacher = data[LOG_PROBS_FIELD].values(), data[IDS_FIELD].values()
    at_tokens = of_responses(token_divergence(logits, *teacher, direction="reverse"))
    mask = torch.tensor([taught[0]] * 3 + [taught[1]])
    expected = (at_tokens * mask).sum() / BATCH_TOKENS
    torch.testing.assert_close(loss, 0.5 * expected)
    assert metrics[f"actor/{DIVERGENCE}"].aggregate() == pytest.approx(float(expected))


def test_the_policy_loss_stays_what_it_is_beside_it():
    logits = random(TOKENS, VOCABULARY, seed=0).requires_grad_()
    settings = DivergenceLoss("forward", coefficient=2.0, clip=0.05)
    loss, metrics, _ = two_calls(loss_function(), micro_batch(advantage=1.0, **{LOSS_FIELD: settings}), logits)
    plain, plain_metrics, _ = two_calls_without_teacher(logits)
    divergence = metrics[f"actor/{DIVERGENCE}"].aggregate()
    assert float((loss - plain).detach()) == pytest.approx(2.0 * float(divergence), rel=1e-5)
    assert metrics["actor/pg_loss"].aggregate() == plain_metrics["actor/pg_loss"].aggregate() != 0
    loss.backward()
    # The last token of each row predicts nothing, nor do those of the prompts but the last.
    silent = [0, 4, 5, 6, 8]
    assert logits.grad[silent].abs().max() == 0 and logits.grad[[1, 2, 3, 7]].abs().min() > 0


def two_calls_without_teacher(logits):
    loss_fn, data = loss_function(), micro_batch(advantage=1.0)
    offsets = torch.tensor([0, PROMPTS[0] + RESPONSES[0], TOKENS])
    log_probs = torch.nested.nested_tensor_from_jagged(torch.log_softmax(logits, dim=-1)[:, 0], offsets)
    return *loss_fn(model_output={"log_probs": log_probs}, data=data), None


@pytest.mark.parametrize("k", [2, None])
def test_the_teachers_pass_hands_on_its_most_probable_entries_and_no_loss(k):
    data, logits = micro_batch(**{TEACHER_FIELD: TeacherPass(k)}), random(TOKENS, VOCABULARY, seed=3)
    loss, metrics, model_output = two_calls(loss_function(), data, logits)
    assert (loss, metrics) == (0, {})
    expected = top_k_log_probs(logits, k)
    for name, values in zip((LOG_PROBS_FIELD, IDS_FIELD), expected, strict=True):
        torch.testing.assert_close(model_output[name].values(), values)
        assert model_output[name].offsets().tolist() == [0, 5, 9]
