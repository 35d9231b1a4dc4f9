"""The estimator `tapo` and the OTS weights on 1,536 rows x 8,192 tokens, beside verl's GRPO estimator on the same rows.

python benchmarks/advantages.py
"""

import numpy as np
import torch
from measure import measure
from rich.console import Console
from rich.table import Table
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from tapo.core.suppression import ood_token_weights
from tapo.trainer.estimator import compute_tapo_advantage

ROWS, TOKENS, GROUP = 1536, 8192, 8


def rows():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.zeros(ROWS, TOKENS)
    rewards[:, -1] = torch.randint(0, 2, (ROWS,), generator=generator).float()
    index = np.array([f"{i // GROUP:032x}" for i in range(ROWS)], dtype=object)
    return rewards, torch.ones(ROWS, TOKENS), index


def prepare_grpo():
    rewards, mask, index = rows()
    return lambda: compute_grpo_outcome_advantage(rewards, mask, index)


def prepare_tapo():
    rewards, mask, index = rows()
    return lambda: compute_tapo_advantage(rewards, mask, index=index, config={})


def prepare_ots():
    log_probs = -torch.rand(ROWS, TOKENS)
    entropy = torch.rand(ROWS, TOKENS)
    return lambda: ood_token_weights(log_probs, entropy)


def main():
    table = Table("", "ms", "times verl's GRPO", "peak MiB above inputs", title=f"{ROWS} rows x {TOKENS} tokens")
    torch.set_num_threads(1)
    named = {"verl's estimator grpo": prepare_grpo, "estimator tapo": prepare_tapo, "OTS weights": prepare_ots}
    results = {name: measure(prepare) for name, prepare in named.items()}
    baseline = results["verl's estimator grpo"][0]
    for name, (seconds, peak) in results.items():
        table.add_row(name, f"{1000 * seconds:.0f}", f"{seconds / baseline:.2f}", f"{peak:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
