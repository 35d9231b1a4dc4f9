"""Every shipped YAML composes, and its runs pass the check."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tapo.config import TapoConfig, read_tapo_config
from tapo.launch.checks import check_run
from tests.stand_ins.trainer import composed

ROOT = Path(__file__).parents[2]
GROUP = sorted(path.stem for path in (Path(__file__).parents[2] / "tapo" / "conf" / "tapo").glob("*.yaml"))


@pytest.mark.parametrize("name", GROUP)
def test_every_option_of_the_group_composes(name):
    assert OmegaConf.to_container(composed(f"+tapo={name}"), resolve=False)


def test_default_turns_a_grpo_run_into_tapo_with_the_documented_defaults():
    config = composed("+tapo=default")
    assert config.algorithm.adv_estimator == "grpo"
    assert config.trainer.v1.trainer_mode == "tapo_sync"
    assert read_tapo_config(config) == TapoConfig(seed=config.actor_rollout_ref.rollout.seed)
    assert check_run(config).enable


def test_both_fragments_apply_together():
    config = composed("+tapo=[default,cpu]")
    assert read_tapo_config(config).enable and config.trainer.device == "cpu"


ABLATIONS = {
    "paper": {"ots": {"spare_reflection": False}, "ref": {"normalization": "own"}},
    "no_ots": {"ots": {"enable": False}},
    "no_negatives": {"contrast": "none"},
    "failed_contrast": {"contrast": "failed"},
    "full_reconstruction": {"reconstruction": "full"},
    "strict_thresholds": {"n_pos": 0.375, "n_neg": 0.5},
    "loose_thresholds": {"n_pos": 0.125, "n_neg": 0.25},
    "m_max_1": {"m_max": 1},
    "own_correction": {"construction": {"correction": "own"}},
    "anchored": {"construction": {"copy": "anchored"}},
    "coupled": {"advantage": "coupled"},
    "extra_correct": {"reconstruction": "extra_correct"},
}
"""Differences from the defaults."""


def test_every_ablation_is_explained():
    assert set(ABLATIONS) <= set(GROUP)
    page = (ROOT / "docs" / "ablations.md").read_text()
    assert all(f"`{name}`" in page for name in ABLATIONS)


@pytest.mark.parametrize("name", ABLATIONS)
@pytest.mark.parametrize("group", ["+tapo={}", "+tapo=[{},cpu]", "+tapo=[default,{}]"])
def test_one_word_alone_is_tapo_with_the_differences_that_it_says(name, group):
    config = composed(group.format(name), "actor_rollout_ref.rollout.seed=3")
    found = check_run(config)
    assert found == TapoConfig.from_mapping({"seed": 3} | ABLATIONS[name])
    assert config.trainer.device == ("cpu" if "cpu" in group else "cuda")


def test_words_combine_in_their_order():
    tapo = read_tapo_config(composed("+tapo=[no_ots,m_max_1,strict_thresholds]"))
    assert (tapo.ots.enable, tapo.m_max, tapo.thresholds(8)) == (False, 1, (3, 4))


def test_the_paper_is_the_published_setting_whatever_the_defaults_are():
    written = OmegaConf.load(ROOT / "tapo/conf/tapo/paper.yaml").algorithm.tapo
    assert written.ots == {"enable": True, "low": 0.01, "high": 10.0, "spare_reflection": False}
    assert written.ref == {"normalization": "own", "prefix_weight": 1.0}
    assert (written.lambda_ref, written.lambda_schedule.shape, written.m_max) == (1.0, "constant", 4)
    assert (written.advantage, written.reconstruction) == ("decoupled", "micro_reflective")
    assert written.construction == {"copy": "verbatim", "correction": "guided", "samples": 1}


RECIPES = [
    *sorted((ROOT / "recipe/tapo/config").glob("qwen*.yaml")),
    *sorted((ROOT / "examples").glob("*/config/rl.yaml")),
]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.relative_to(ROOT).parts[1::2]))
def test_every_recipe_composes_and_passes_the_check(path, monkeypatch):
    for name in ("MODEL", "DATA", "OUT", "TASK"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    overrides = [] if "tapo: default" in path.read_text() else ["+tapo=[default,cpu]"]
    with initialize_config_dir(str(path.parent), version_base=None):
        config = compose(path.stem, overrides=overrides)
    assert check_run(config).enable
    with initialize_config_dir(str(path.parent), version_base=None):
        ablated = compose(path.stem, overrides=["+tapo=[no_ots]"])
    assert read_tapo_config(ablated).ots.enable is False
    assert config.actor_rollout_ref.rollout.n == 8
    assert config.data.train_files == "/data/train.parquet"


OVERLAYS = {
    "lora": ("actor_rollout_ref.model.lora_rank", 64),
    "sglang": ("actor_rollout_ref.rollout.name", "sglang"),
    "colocate_async": ("trainer.v1.trainer_mode", "colocate_async"),
    "separate_async": ("actor_rollout_ref.rollout.checkpoint_engine.backend", "nccl"),
}


def test_every_overlay_is_known():
    assert {path.stem for path in (ROOT / "recipe/tapo/config/overlay").glob("*.yaml")} == set(OVERLAYS)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("recipe", ["qwen3_1_7b", "qwen2_5_math_7b", "qwen3_30b_a3b_megatron"])
def test_overlays_change_what_they_say_in_recipes_of_either_engine(recipe, overlay, monkeypatch):
    for name in ("MODEL", "DATA"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    with initialize_config_dir(str(ROOT / "recipe/tapo/config"), version_base=None):
        config = compose(recipe, overrides=[f"+overlay={overlay}"])
        both = compose(recipe, overrides=["+overlay=[lora,colocate_async]"])
    key, value = OVERLAYS[overlay]
    assert OmegaConf.select(config, key) == value and check_run(config).enable
    assert (both.actor_rollout_ref.model.lora_rank, both.trainer.v1.trainer_mode) == (64, "colocate_async")
    # verl asserts it where the mode is separate_async.
    steps = config.trainer.v1.separate_async.parameter_sync_step if overlay == "separate_async" else 1
    assert config.data.train_batch_size == steps * config.actor_rollout_ref.actor.ppo_mini_batch_size


SFT_RECIPES = [
    ROOT / "recipe/tapo/config/cold_start_sft.yaml",
    *sorted((ROOT / "examples").glob("*/config/cold_start.yaml")),
]


@pytest.mark.parametrize("path", SFT_RECIPES, ids=lambda path: "/".join(path.relative_to(ROOT).parts[1::2]))
def test_every_cold_start_composes_and_tokenises_as_rl_does(path, monkeypatch):
    for name in ("MODEL", "DATA", "OUT", "TASK"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    with initialize_config_dir(str(path.parent), version_base=None):
        config = compose(path.stem, overrides=["trainer.total_training_steps=5"])
    assert (config.data.train_files, config.data.val_files) == ("/data/train.parquet", "/data/val.parquet")
    assert (config.model.path, config.trainer.default_local_dir) == ("/model", "/out/checkpoints")
    assert config.data.custom_cls.name == "ColdStartDataset" and "hf_model" in config.checkpoint.save_contents
