"""The roads example, put together for the scripts of `examples.common`."""

from __future__ import annotations

from examples.common.task import Drill, Pretraining, Task

from .check import faithful
from .drills import attempt_row, copy_row, guided_row, list_row, mend_row, retry_row, sort_row, walk_row
from .phrases import PHRASES
from .problem import construction, generate_problem, needless_reflection, parse_query
from .rollouts import responses

TASK = Task(
    name="roads",
    phrases=PHRASES,
    draw=generate_problem,
    parse=parse_query,
    seeded=responses,
    construction=construction,
    drills={
        "attempt": Drill(0.28, attempt_row),
        "list": Drill(0.10, list_row),
        "walk": Drill(0.18, walk_row),
        "sort": Drill(0.15, sort_row),
        "mend": Drill(0.22, mend_row),
        "copy": Drill(0.04, copy_row),
        "guided": Drill(0.04, guided_row),
        "retry": Drill(0.0015, retry_row),
    },
    # Without them the cold start's chats, in which every road that ends elsewhere is taken back, would make the policy
    # reflect at once; and who cannot walk several roads any more does not come far with a second try.
    replay={"attempt": 0.5, "list": 0.1, "walk": 0.15, "sort": 0.15, "guided": 0.1},
    needless_reflection=needless_reflection,
    faithful=faithful,
    model={
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
    },
    pretraining=Pretraining(steps=1800, rows=32, muon_lr=0.01, adam_lr=3e-3),
)
