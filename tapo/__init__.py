"""TAPO for verl: Trajectory-Augmented Policy Optimization (arXiv 2606.18844) as a plugin."""

__version__ = "0.1.0"
