"""Makes two runs comparable: `VERL_USE_EXTERNAL_MODULES=tests.e2e.witness`, in runs with TAPO and without it.

Each session samples with a seed made from its query and its number (`default_agent_loop=seeded_agent`), and the
advantages that verl computes are written to WITNESS_FILE, a JSON line for each row.
"""

import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook

ARGUMENTS = ("actor_rollout_ref.rollout.agent.default_agent_loop=seeded_agent",)


def environment(file: Any) -> dict[str, str]:
    return {"VERL_USE_EXTERNAL_MODULES": "tests.e2e.witness", "WITNESS_FILE": str(file)}


def advantages(file: Any) -> dict[tuple[int, str, int], list[float]]:
    """{(step, query, session): the advantage of each response token}."""
    rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
    return {(row["step"], row["query"], row["session"]): row["advantages"] for row in rows}


def _register_agent(module: ModuleType) -> None:
    importlib.import_module("tests.e2e.seeded_agent")


def _watch_advantages(module: ModuleType) -> None:
    import transfer_queue as tq
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    compute = PPOTrainer._compute_advantage

    def watched(self: Any, batch: Any, metrics: dict) -> Any:
        written = compute(self, batch, metrics)
        names = ["prompts", "advantages"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
        with open(os.environ["WITNESS_FILE"], "a") as file:
            for i, (key, tag) in enumerate(zip(batch.keys, batch.tags, strict=True)):
                if not tag.get("is_padding", False):
                    row = {"step": self.global_steps, "session": int(key.split("_")[-2])}
                    row["query"] = " ".join(map(str, data["prompts"][i].tolist()))
                    row["advantages"] = data["advantages"][i].tolist()
                    file.write(json.dumps(row) + "\n")
        return written

    PPOTrainer._compute_advantage = watched


register_post_import_hook(_register_agent, "verl.experimental.agent_loop")
register_post_import_hook(_watch_advantages, "verl.trainer.ppo.v1")
