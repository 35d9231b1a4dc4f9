"""What self-distillation asks of a verl run, and verl's own names set back where the trainer starts."""

import sys
from typing import Any

from omegaconf import DictConfig, open_dict

from tapo.baselines.opsd.config import OpsdConfig, read_opsd_config
from tapo.launch.checks import FSDP, CheckBeforeRay, get, uses_tapo
from tapo.options import ConfigError

TRAINER_MODES = {"opsd_sync": "sync", "opsd_colocate_async": "colocate_async", "opsd_separate_async": "separate_async"}
"""OPSD's trainer modes and the verl modes they extend, by whose names they go too."""


def check_opsd_run(config: DictConfig) -> OpsdConfig:
    """Refuse a run that self-distillation cannot train correctly.

    Args:
        config: the whole composed config of `verl.trainer.main_ppo`.

    Raises:
        ConfigError: names the key, its value and what is allowed.
    """
    opsd = read_opsd_config(config)
    if uses_tapo(config):
        raise ConfigError("algorithm.tapo", "set", "a run is TAPO or OPSD: give tapo=opsd in place of tapo=default")
    _require(config, "trainer.use_v1", (True,))
    _require(config, "trainer.v1.trainer_mode", (*TRAINER_MODES.values(), *TRAINER_MODES))
    _require(config, "distillation.enabled", (False, None))
    if get(config, "algorithm.adv_estimator") == "gae":
        raise ConfigError("algorithm.adv_estimator", "gae", "no critic takes part: grpo or another critic-free one")
    n = get(config, "actor_rollout_ref.rollout.n")
    if opsd.privileged == "sibling" and n < 2:
        raise ConfigError("actor_rollout_ref.rollout.n", n, "a lone rollout has no sibling: 2 or more")
    if opsd.direction:
        _check_divergence(config)
    return opsd


def _check_divergence(config: DictConfig) -> None:
    """The teacher's probabilities over the vocabulary come from the actor's logits, which these settings split up or
    never make."""
    _require(config, "actor_rollout_ref.actor.strategy", FSDP)
    _require(config, "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size", (1, None))
    _require(config, "actor_rollout_ref.model.use_fused_kernels", (False, None))


def _require(config: DictConfig, key: str, allowed: tuple[Any, ...]) -> None:
    if get(config, key) not in allowed:
        names = ", ".join(str(value) for value in allowed if value is not None)
        raise ConfigError(key, get(config, key), f"OPSD allows {names}")


class CheckOpsdBeforeRay(CheckBeforeRay):
    """That of the config group `opsd`."""

    name = "OPSD"
    check = staticmethod(check_opsd_run)


def prepare_opsd_run(config: DictConfig) -> OpsdConfig:
    """Check the run, set verl's own name of the trainer mode back, which verl compares with in many places, and have a
    reference policy where it is the teacher."""
    opsd = check_opsd_run(config)
    actor = config.actor_rollout_ref.actor
    with open_dict(config):
        mode = config.trainer.v1.trainer_mode
        config.trainer.v1.trainer_mode = TRAINER_MODES.get(mode, mode)
        if opsd.teacher == "initial" and not (actor.use_kl_loss or config.algorithm.use_kl_in_reward):
            # What verl makes a reference policy for; of no weight, it changes no gradient.
            actor.use_kl_loss, actor.kl_loss_coef = True, 0.0
    return opsd


def context_length(config: DictConfig) -> int:
    """Tokens that the actor's model takes in one sequence; without a bound where its config does not say."""
    # Imported here: verl's model config pulls in transformers, which the launch command need not wait for.
    from verl.utils.config import omega_conf_to_dataclass

    text_config = omega_conf_to_dataclass(config.actor_rollout_ref.model).hf_config.get_text_config()
    return getattr(text_config, "max_position_embeddings", None) or sys.maxsize
