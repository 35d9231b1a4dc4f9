from functools import cache

import pytest
import yaml
from omegaconf import OmegaConf
from rich.console import Console

from tapo.launch.line import compose_line
from tapo.options import ConfigError
from tapo.planning.command import run_plan
from tapo.planning.options import PlanOptions
from tapo.planning.plan import plan_of

SIZES = [
    "actor_rollout_ref.model.path=Qwen/Qwen3-8B",
    "actor_rollout_ref.rollout.name=vllm",
    "data.train_batch_size=10",
    "data.max_prompt_length=1000",
    "data.max_response_length=4000",
    "actor_rollout_ref.rollout.n=8",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.actor.use_dynamic_bsz=true",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=16000",
]
GIVEN = PlanOptions(response_share=0.5, prompt_share=0.2, eligible=0.4, error_at=0.25, valid=0.5)


@cache
def composed(*words):
    """Composing takes a second: what only sets values is set below."""
    return compose_line([*words, *SIZES])


def plan(*overrides, given=GIVEN, config=()):
    run = composed(*config, *(one for one in overrides if one.startswith("+"))).copy()
    for one in overrides:
        if not one.startswith("+"):
            key, _, value = one.partition("=")
            OmegaConf.update(run, key, yaml.safe_load(value))
    return plan_of(run, given)


def test_tokens_of_rollouts_and_of_constructions():
    tokens = plan("+tapo=default").tokens
    rollouts, with_tapo = tokens["GRPO"], tokens["TAPO"]
    assert (rollouts.rows, rollouts.row, rollouts.decoded, rollouts.prefilled) == (80, 2200, 160_000, 2_000)
    attempts = 10 * 0.4 * 4
    assert with_tapo.decoded == 160_000 + attempts * (300 + 500 + 60 + 1500)
    assert with_tapo.rows == 80 + attempts / 2
    assert with_tapo.trained == pytest.approx(80 * 2200 + attempts / 2 * 2260)
    assert with_tapo.prefilled == 2_000 + attempts * (200 + 2 * 2000 + 400)
    # The slowest rollout has twice the mean's length, and so has what is built on it.
    assert with_tapo.last == 4000 + 2 * (300 + 500 + 60 + 1500)


def test_a_form_decodes_what_it_decodes():
    anchored = plan("+tapo=anchored").tokens["TAPO"]
    assert anchored.decoded == 160_000 + 16 * (300 + 40 + 60 + 1500)
    own = plan("+tapo=own_correction", "algorithm.tapo.construction.samples=3").tokens["TAPO"]
    copied = 40 if composed("+tapo=own_correction").algorithm.tapo.construction.copy == "anchored" else 500
    assert own.decoded == 160_000 + 16 * (300 + copied + 60 + 3 * 1500)
    assert own.rows == 80 + 16 * 0.5 * 3
    copies = plan("+tapo=extra_correct").tokens["TAPO"]
    assert copies.decoded == 160_000 and copies.rows == 80 + 16


def test_without_tapo_there_is_one_column():
    for line in ((), ("+tapo=default", "algorithm.tapo.enable=false")):
        without = plan(*line)
        assert list(without.tokens) == ["GRPO"] and without.context == (5000, 5000)


def test_memory_of_fsdp_is_cut_over_the_gpus():
    one, eight = plan(), plan("trainer.n_gpus_per_node=4", "trainer.nnodes=2")
    for part, bytes_each in {"parameters": 4, "gradients": 4, "optimizer": 8}.items():
        whole = bytes_each * one.size.parameters / 2**30
        assert one.memory.training[part] * one.layout.shards == pytest.approx(whole)
        assert eight.memory.training[part] == pytest.approx(whole / 8)
    assert eight.memory.training["logits"] == pytest.approx(16000 * 151936 * 8 / 2**30)
    assert eight.memory.rollout["actor, not offloaded"] == pytest.approx(12 * one.size.parameters / 8 / 2**30 + 2)
    fsdp = "actor_rollout_ref.actor.fsdp_config"
    offloaded = plan("trainer.n_gpus_per_node=8", f"{fsdp}.param_offload=true", f"{fsdp}.optimizer_offload=true")
    assert offloaded.memory.rollout["actor, not offloaded"] == 2
    assert offloaded.memory.training == eight.memory.training
    # There and back at 20 GB a second.
    assert offloaded.seconds["GRPO"]["offloading"] == pytest.approx(2 * 12 * one.size.parameters / 8 / 20e9)
    assert eight.seconds["GRPO"]["offloading"] == 0


def test_an_adapter_trains_its_own_parameters_alone():
    lora = plan("actor_rollout_ref.model.lora_rank=32", "trainer.n_gpus_per_node=1")
    trained = 32 * lora.size.linear_ends
    assert lora.memory.training["optimizer"] == pytest.approx(8 * trained / 2**30)
    assert lora.memory.training["parameters"] == pytest.approx(4 * (lora.size.parameters + trained) / 2**30)


def test_megatron_cuts_experts_and_the_rest_by_their_own_sizes():
    megatron = "actor_rollout_ref.actor.megatron"
    line = [
        "actor_rollout_ref.model.path=Qwen/Qwen3-30B-A3B",
        "trainer.n_gpus_per_node=8",
        "trainer.nnodes=2",
        f"{megatron}.tensor_model_parallel_size=2",
        f"{megatron}.pipeline_model_parallel_size=2",
        f"{megatron}.expert_model_parallel_size=4",
        f"{megatron}.expert_tensor_parallel_size=1",
        "actor_rollout_ref.rollout.tensor_model_parallel_size=4",
    ]
    big = plan(*line, config=["--config-name", "ppo_megatron_trainer"])
    size, spread = big.size, big.layout
    held = (size.parameters - size.experts) / 4 + size.experts / 8
    assert (spread.data, spread.replicas, spread.replica) == (4, 4, 4)
    assert big.memory.training["parameters"] == pytest.approx(2 * held / 2**30)
    assert big.memory.training["gradients"] == pytest.approx(4 * held / 2**30)
    assert big.memory.training["optimizer"] == pytest.approx(12 * held / 4 / 2**30)


def test_seconds_follow_the_roofs():
    one = plan("+tapo=default", "trainer.n_gpus_per_node=8")
    grpo, tapo = one.seconds["GRPO"], one.seconds["TAPO"]
    tokens = one.tokens["GRPO"]
    forward = one.size.forward_flops(tokens.trained, tokens.row) / (989e12 * 0.35 * 8)
    assert grpo["log-probs"] == pytest.approx(forward) and grpo["update"] == pytest.approx(4 * forward)
    # Ten sequences a replica: the slowest one's tokens, each of which reads the weights once.
    assert grpo["generation"] == pytest.approx(4000 * 2 * one.size.parameters / (3.35e12 * 0.6))
    assert grpo["step"] == pytest.approx(sum(seconds for part, seconds in grpo.items() if part != "step"))
    assert tapo["generation"] / grpo["generation"] == pytest.approx(one.tokens["TAPO"].last / tokens.last)
    kl = plan("trainer.n_gpus_per_node=8", "actor_rollout_ref.actor.use_kl_loss=true").seconds["GRPO"]
    assert kl["log-probs"] == pytest.approx(2 * forward)
    full = plan("data.train_batch_size=4096", "trainer.n_gpus_per_node=8").seconds["GRPO"]
    assert full["generation"] > 10 * grpo["generation"]


def test_separate_devices_work_at_the_same_time():
    rollout = "actor_rollout_ref.rollout"
    separate = plan(
        "trainer.n_gpus_per_node=8",
        "trainer.v1.trainer_mode=separate_async",
        f"{rollout}.nnodes=2",
        f"{rollout}.n_gpus_per_node=4",
    )
    assert (separate.layout.trained_on, separate.layout.rolled_out_on) == (8, 8)
    seconds = separate.seconds["GRPO"]
    training = seconds["log-probs"] + seconds["update"] + seconds["offloading"]
    assert seconds["step"] == max(seconds["generation"], training)
    assert separate.memory.rollout["actor, not offloaded"] == 0


def test_what_does_not_fit_is_said():
    tight = plan("+tapo=default", "data.max_response_length=16000", "trainer.n_gpus_per_node=1")
    said = " ".join(tight.warnings)
    assert "training takes" in said and "rolling out takes" in said and "the model 40,960" in said
    assert tight.context[1] == 1000 + 2 * 16000 + 400 + 16000 + 1024
    assert plan("+tapo=default", "trainer.n_gpus_per_node=8", "trainer.nnodes=2").warnings == []


def test_what_no_plan_can_be_made_of_is_named():
    with pytest.raises(ConfigError, match=r"tensor_model_parallel_size = 4 cannot work: needs at most the 1 GPUs"):
        plan("actor_rollout_ref.rollout.tensor_model_parallel_size=4", "trainer.n_gpus_per_node=1")
    with pytest.raises(ConfigError, match=r"gpu = 'tpu' cannot work: allowed are a100, h100, h200, b200"):
        PlanOptions(gpu="tpu")


def test_the_command_says_that_it_calculates_and_from_what():
    console = Console(record=True, width=200)
    line = ("python", "-m", "verl.trainer.main_ppo", "+tapo=default", *SIZES, "trainer.total_training_steps=7")
    run_plan(PlanOptions(line=line, mfu=0.25), console)
    text = console.export_text()
    for said in ("Calculated, not measured", "8.19 billion parameters", "hours of 7 steps", "--mfu 0.25", "KV cache"):
        assert said in text
    assert "TAPO / GRPO" in text


RECIPES = {
    "qwen3_1_7b": "Qwen3-1.7B",
    "qwen3_4b": "Qwen3-4B",
    "qwen2_5_math_7b": "Qwen2.5-Math-7B",
    "qwen3_8b_fsdp": "Qwen3-8B",
    "qwen3_8b_megatron": "Qwen3-8B",
    "qwen3_30b_a3b_megatron": "Qwen3-30B-A3B",
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_fits_the_gpus_that_it_names(recipe, monkeypatch):
    monkeypatch.setenv("MODEL", f"Qwen/{RECIPES[recipe]}")
    monkeypatch.setenv("DATA", "/data")
    said = plan_of(compose_line(["--config-path", "pkg://tapo.recipes.config", "--config-name", recipe]), PlanOptions())
    # The context of Qwen2.5-Math is what it is, and its recipe says so.
    assert [one for one in said.warnings if recipe != "qwen2_5_math_7b" or "the model 4,096" not in one] == []
    assert said.steps == 500
