"""The runs that are compared."""

from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig

from benchmarks.at_scale.options import Scale
from tapo.config import TapoConfig

_OF = "algorithm.tapo.construction"

FORMS: dict[str, tuple[str, ...]] = {
    "grpo": ("algorithm.tapo.enable=false",),
    "verbatim+guided": (),
    "anchored+guided": (f"{_OF}.copy=anchored", f"{_OF}.correction=guided"),
    "anchored+own": (f"{_OF}.copy=anchored", f"{_OF}.correction=own"),
}
"""Each by the keys that it sets."""


class UnknownSetting(ValueError):
    """A setting that there is none of, or that this TAPO has no keys for."""


def names() -> list[str]:
    """All settings, those with a deadline behind their form's own."""
    return [name for form in FORMS for name in ((form,) if form == "grpo" else (form, f"{form}+deadline"))]


def overrides_of(name: str, deadline_s: float) -> list[str]:
    """The keys that a setting sets.

    Raises:
        UnknownSetting: there is no such setting.
    """
    if name not in names():
        raise UnknownSetting(f"there is no setting {name!r}; there are {', '.join(names())}")
    form = name.removesuffix("+deadline")
    return [*FORMS[form], *([f"{_OF}.deadline={deadline_s}"] if form != name else [])]


def compose_run(name: str, scale: Scale, folder: str, *, steps: int, deadline_s: float) -> DictConfig:
    """The config of a run, over the task in `folder`.

    Raises:
        UnknownSetting: as `overrides_of`; also where this version of TAPO lacks a key.
    """
    own = overrides_of(name, deadline_s)
    line = [
        "+tapo=[default,cpu]",
        "algorithm.adv_estimator=grpo",
        f"data.train_files={folder}/train.parquet",
        f"data.val_files={folder}/train.parquet",
        f"data.max_prompt_length={scale.prompt_length}",
        f"data.max_response_length={scale.response_length}",
        f"data.train_batch_size={scale.queries}",
        "data.shuffle=false",
        f"actor_rollout_ref.model.path={folder}/model",
        f"actor_rollout_ref.rollout.n={scale.n}",
        f"actor_rollout_ref.rollout.agent.num_workers={scale.workers}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={max(scale.queries // 4, 1)}",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
        "reward.custom_reward_function.path=pkg://benchmarks.at_scale.task",
        "reward.custom_reward_function.name=compute_score",
        "trainer.logger=[]",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.resume_mode=disable",
        f"trainer.n_gpus_per_node={scale.devices}",
        f"trainer.total_training_steps={steps}",
        f"trainer.total_epochs={steps}",
    ]
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            return compose("ppo_trainer", overrides=[*line, *own])
    except ConfigCompositionException as error:
        raise UnknownSetting(f"this version of TAPO cannot run {name}: it lacks one of {', '.join(own)}") from error


def templates(tapo: TapoConfig) -> dict[str, bool]:
    """The construction prompts of a run, and of each whether it leaves the correction to the policy."""
    forms = getattr(tapo.construction, "forms", None)
    return {tapo.template(form): form.own for form in forms} if forms else {tapo.template(): False}
