"""Divergence of student and teacher at each token, over the teacher's most probable entries and the rest as one."""

import torch

LARGEST_MASS = 1 - 1e-6
"""Of the entries that are told apart, so that the rest has a logarithm."""


def top_k_log_probs(logits_TV: torch.Tensor, k: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The k most probable entries at each token.

    Args:
        logits_TV: [T, V].
        k: None, or at least V: the whole vocabulary.

    Returns:
        (log-probs, ids), both [T, K] with K = min(k, V); float32 and int32.
    """
    log_probs_TV = torch.log_softmax(logits_TV.float(), dim=-1)
    vocabulary = log_probs_TV.shape[-1]
    log_probs_TK, ids_TK = log_probs_TV.topk(min(k or vocabulary, vocabulary), dim=-1)
    return log_probs_TK, ids_TK.to(torch.int32)


def token_divergence(
    student_logits_TV: torch.Tensor,
    teacher_log_probs_TK: torch.Tensor,
    teacher_ids_TK: torch.Tensor,
    *,
    direction: str,
    clip: float | None = None,
) -> torch.Tensor:
    """KL(student || teacher) (`reverse`) or KL(teacher || student) (`forward`) at each token.

    The entries that the teacher's K leave out count as one: what comes of it is at most the whole divergence, never
    negative, and the whole one where K is the vocabulary. The gradient is the student's.

    Args:
        student_logits_TV: [T, V].
        teacher_log_probs_TK, teacher_ids_TK: of `top_k_log_probs`.
        clip: most that an entry adds; None for no bound. What entries take away has none, so that a clipped sum may be
            negative.

    Returns:
        [T], float32.
    """
    log_probs_TV = torch.log_softmax(student_logits_TV.float(), dim=-1)
    student = log_probs_TV.gather(-1, teacher_ids_TK.long())
    teacher = teacher_log_probs_TK.float()
    if teacher.shape[-1] < log_probs_TV.shape[-1]:
        student, teacher = with_rest(student), with_rest(teacher)
    over, under = (student, teacher) if direction == "reverse" else (teacher, student)
    entries = over.exp() * (over - under)
    if clip is not None:
        entries = entries.clamp(max=clip)
    return entries.sum(dim=-1)


def with_rest(log_probs_TK: torch.Tensor) -> torch.Tensor:
    """[T, K + 1]: the log-probability of all other entries behind the K."""
    mass = log_probs_TK.exp().sum(dim=-1, keepdim=True).clamp(max=LARGEST_MASS)
    return torch.cat([log_probs_TK, torch.log1p(-mass)], dim=-1)
