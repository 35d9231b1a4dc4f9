"""The method, pure: selection, prompts, reconstruction, advantages, token weights.

Imports torch and numpy at most, and reads its lists of phrases with yaml.

Shape suffixes: ``_N`` rows of a batch, ``_G`` rollouts of one group, ``_T`` response tokens.
"""
