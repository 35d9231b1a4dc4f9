"""Defaults that pure functions and options share; importing them costs nothing."""

REWARD_THRESHOLD = 0.5
"""Of the reward above which a rollout is correct."""

MIN_PREFIX_SHARE = 0.1
"""Of the least kept share of a wrong rollout where no reflection opens the new text."""
