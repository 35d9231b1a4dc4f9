"""OOD token suppression (OTS)."""

import torch


@torch.no_grad()
def ood_token_weights(
    log_probs_NT: torch.Tensor, entropy_NT: torch.Tensor, *, low: float = 0.01, high: float = 10.0
) -> torch.Tensor:
    """Weight tokens by how surprising they are to the policy, relative to its own entropy (TAPO, eq. 7).

    s_t = log p(y_t | x, y_<t) + H[p(. | x, y_<t)] and w_t = clamp(exp(s_t), low, high): a token that the policy
    would itself produce weighs about 1, an out-of-distribution one little.

    Args:
        log_probs_NT: natural-log probabilities of the tokens, any shape.
        entropy_NT: entropies in nats at the same positions, same shape.
        low, high: bounds, 0 <= low <= high.

    Returns:
        float32 weights of the same shape, without gradient.

    Raises:
        ValueError: the shapes differ or the bounds are out of order.
    """
    if log_probs_NT.shape != entropy_NT.shape:
        raise ValueError(f"shapes differ: {tuple(log_probs_NT.shape)} and {tuple(entropy_NT.shape)}")
    if not 0 <= low <= high:
        raise ValueError(f"need 0 <= low <= high, got low={low}, high={high}")
    # In place from here on: at 1,536 x 8,192 tokens every temporary is 50 MB.
    return (log_probs_NT.float() + entropy_NT.float()).exp_().clamp_(low, high)
