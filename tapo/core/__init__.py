"""The method, pure: selection, prompts, reconstruction, advantages, token weights. Imports torch at most.

Shape suffixes: ``_N`` rows of a batch, ``_G`` rollouts of one group, ``_T`` response tokens.
"""
