"""Two steps of the recipes on the CPU, with another model and smaller sizes."""

import numpy as np
import pytest

from tests.e2e.harness import launch

FEWER = [
    "trainer.nnodes=1",
    "trainer.n_gpus_per_node=1",
    "trainer.total_training_steps=2",
    "trainer.save_freq=-1",
    "trainer.test_freq=-1",
    # Of the CPU platform, which the recipes' own values go before.
    "actor_rollout_ref.model.use_remove_padding=false",
    "actor_rollout_ref.model.enable_gradient_checkpointing=false",
    "actor_rollout_ref.rollout.gpu_memory_utilization=0.3",
]
LINES = {
    "qwen3_1_7b": ["+overlay=lora"],
    "qwen3_4b": ["+overlay=colocate_async"],
    "qwen2_5_math_7b": [],
    "qwen3_8b_fsdp": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", LINES)
def test_a_recipe_trains_two_steps(recipe, tmp_path, data):
    config = ["--config-path=pkg://tapo.recipes.config", f"--config-name={recipe}"]
    named = {"MODEL": "unused", "DATA": str(data)}
    run = launch(tmp_path, data, *FEWER, *LINES[recipe], config=config, environment=named)
    assert set(run.steps) == {1, 2}
    for metrics in run.steps.values():
        assert metrics["tapo/construct/trained"] > 0 and np.isfinite(metrics["actor/grad_norm"])
