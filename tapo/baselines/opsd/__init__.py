"""On-policy self-distillation (OPSD, arXiv 2601.18734): the policy, shown a solution, teaches its own rollouts."""
