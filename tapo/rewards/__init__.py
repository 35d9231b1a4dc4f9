"""Rewards: math answers scored by math-verify in processes that can be killed."""

from tapo.rewards.boxed import last_boxed
from tapo.rewards.math_verify_reward import compute_score

__all__ = ["compute_score", "last_boxed"]
