"""The arithmetic example, put together for the scripts of `examples.common`."""

from __future__ import annotations

from examples.common.task import Drill, Pretraining, Task

from .check import faithful
from .drills import check_row, compare_row, copy_row, mend_row, solve_row
from .phrases import PHRASES
from .problem import construction, generate_problem, needless_reflection, parse_query
from .rollouts import responses

TASK = Task(
    name="arithmetic",
    phrases=PHRASES,
    draw=generate_problem,
    parse=parse_query,
    seeded=responses,
    construction=construction,
    drills={
        "solve": Drill(0.3, solve_row),
        "check": Drill(0.05, check_row),
        "compare": Drill(0.1, compare_row),
        "mend": Drill(0.5, mend_row),
        "copy": Drill(0.05, copy_row),
    },
    needless_reflection=needless_reflection,
    faithful=faithful,
    model={
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
    pretraining=Pretraining(steps=2300, rows=16, muon_lr=0.02, adam_lr=3e-3),
)
"""The base model is trained until it is right about half of the time: strong enough for groups with right rollouts,
weak enough for groups with wrong ones."""
