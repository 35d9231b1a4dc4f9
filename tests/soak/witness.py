"""What the trainer trained, written down a line a step: `VERL_USE_EXTERNAL_MODULES=tests.soak.witness`."""

import json
import os
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook

from tests.soak.chance import FOLDER, STEPS_FILE


def _watch(module: ModuleType) -> None:
    from tapo import transfer
    from tapo.trainer.batch import is_padding, select
    from tests.soak.faults import FullDisk

    compute = module.TapoTrainer._compute_metrics

    def watched(self: Any, batch: Any, metrics: dict, *args: Any, **kwargs: Any) -> None:
        if self._trained_dump.path is not None:
            self._trained_dump.path = FullDisk(self._trained_dump.path)
        refs = dict(self._ref_rows)
        compute(self, batch, metrics, *args, **kwargs)
        rows = select(batch, [i for i, tag in enumerate(batch.tags) if not is_padding(tag)])
        data = transfer.read_fields(rows.keys, rows.partition_id, ["uid", "prompts", "rm_scores", "advantages"])
        step: dict[str, Any] = {"step": self.global_steps, "start": os.getpid(), "rows": [], "metrics": {}}
        for i, key in enumerate(rows.keys):
            advantages = data["advantages"][i]
            step["rows"].append(
                {
                    "key": key,
                    "uid": str(data["uid"][i]),
                    "query": " ".join(map(str, data["prompts"][i].tolist())),
                    "constructed": key in refs,
                    "reward": float(data["rm_scores"][i].sum()),
                    "advantage": refs[key].advantage if key in refs else float(advantages[advantages.abs().argmax()]),
                }
            )
        names = ("tapo/construct/", "tapo/groups/", "tapo/dump/", "actor/grad_norm")
        step["metrics"] = {name: float(value) for name, value in metrics.items() if name.startswith(names)}
        with open(os.path.join(os.environ[FOLDER], STEPS_FILE), "a", encoding="utf-8") as lines:
            lines.write(json.dumps(step) + "\n")

    module.TapoTrainer._compute_metrics = watched


register_post_import_hook(_watch, "tapo.trainer.trainers")
