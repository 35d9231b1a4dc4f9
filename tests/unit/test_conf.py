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


RECIPES = [
    *sorted((ROOT / "recipe/tapo/config").glob("qwen3_*.yaml")),
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
    assert config.actor_rollout_ref.rollout.n == 8
    assert config.data.train_files == "/data/train.parquet"


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
