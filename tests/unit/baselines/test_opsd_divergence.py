"""The divergence at a token, against closed forms."""

import math

import pytest
import torch

from tapo.baselines.opsd.divergence import token_divergence, top_k_log_probs

STUDENT, TEACHER = (0.5, 0.2, 0.2, 0.1), (0.4, 0.3, 0.1, 0.2)


def logits(*probabilities):
    """[1, V], of no particular scale."""
    return torch.tensor([probabilities]).log() + 3.0


def divergence(student, teacher, k, **options):
    return token_divergence(logits(*student), *top_k_log_probs(logits(*teacher), k), **options).item()


def kl(over, under):
    return sum(p * math.log(p / q) for p, q in zip(over, under, strict=True))


@pytest.mark.parametrize("k", [None, 4, 9])
def test_over_the_whole_vocabulary_it_is_the_divergence_itself_in_either_direction(k):
    assert divergence(STUDENT, TEACHER, k, direction="reverse") == pytest.approx(kl(STUDENT, TEACHER))
    assert divergence(STUDENT, TEACHER, k, direction="forward") == pytest.approx(kl(TEACHER, STUDENT))


def test_entries_beyond_the_teachers_most_probable_count_as_one():
    both = ((0.5, 0.2, 0.3), (0.4, 0.3, 0.3))
    assert divergence(STUDENT, TEACHER, 2, direction="reverse") == pytest.approx(kl(*both), rel=1e-5)
    assert divergence(STUDENT, TEACHER, 2, direction="forward") == pytest.approx(kl(*reversed(both)), rel=1e-5)
    assert kl(*both) < kl(STUDENT, TEACHER)


def test_the_teachers_entries_are_its_most_probable_ones_in_their_order():
    log_probs, ids = top_k_log_probs(logits(*TEACHER), 2)
    assert ids.tolist() == [[0, 1]] and ids.dtype == torch.int32
    torch.testing.assert_close(log_probs.exp(), torch.tensor([[0.4, 0.3]]))


@pytest.mark.parametrize("k", [1, 2, None])
def test_it_is_zero_where_both_agree_and_never_below(k):
    assert divergence(STUDENT, STUDENT, k, direction="reverse") == pytest.approx(0, abs=1e-6)
    assert divergence(STUDENT, (0.1, 0.2, 0.2, 0.5), k, direction="reverse") > 0.3


def test_an_entry_adds_at_most_the_clip():
    entries = [p * math.log(p / q) for p, q in zip(STUDENT, TEACHER, strict=True)]
    assert max(entries) > 0.13  # the third: 0.2 log 2
    clipped = divergence(STUDENT, TEACHER, None, direction="reverse", clip=0.05)
    assert clipped == pytest.approx(sum(min(entry, 0.05) for entry in entries))


def test_the_gradient_is_that_of_the_student_alone():
    student = logits(*STUDENT).requires_grad_()
    teacher = logits(*TEACHER).requires_grad_()
    log_probs, ids = top_k_log_probs(teacher.detach(), None)
    token_divergence(student, log_probs, ids, direction="reverse").sum().backward()
    whole = kl(STUDENT, TEACHER)
    expected = [p * (math.log(p / q) - whole) for p, q in zip(STUDENT, TEACHER, strict=True)]
    torch.testing.assert_close(student.grad[0], torch.tensor(expected))
    assert teacher.grad is None


def test_entries_that_hold_all_of_the_mass_leave_a_gradient():
    student = torch.tensor([[40.0, 0.0, 0.0]]).requires_grad_()
    token_divergence(student, *top_k_log_probs(student.detach(), 1), direction="reverse").sum().backward()
    assert torch.isfinite(student.grad).all()
