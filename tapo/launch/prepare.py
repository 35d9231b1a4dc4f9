"""What TAPO fills in of a verl run, once it is checked: verl's own names, and what follows from the rest."""

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from tapo.config import ConfigError, TapoConfig
from tapo.launch.checks import TRAINER_MODES, check_run, get
from tapo.launch.context import context_report

logger = logging.getLogger(__name__)

TABLE_TRACKERS = ("wandb", "vemlp_wandb", "tensorboard")
"""The names in `trainer.logger` that a table of trajectories can be logged to."""


def prepare_run(config: DictConfig) -> TapoConfig:
    """Check the run, set verl's own names back, and make room for the construction prompt.

    verl's trainer compares mode and estimator with its own names in many places, so a run under TAPO's names goes on
    under those that they extend. `rollout.max_model_len` is set unless the user did (see `tapo.launch.context`).
    """
    tapo = check_run(config)
    with open_dict(config):
        mode = config.trainer.v1.trainer_mode
        config.trainer.v1.trainer_mode = TRAINER_MODES.get(mode, mode)
        if config.algorithm.adv_estimator == "tapo":
            config.algorithm.adv_estimator = "grpo"
        _make_independent_of_this_machine(config, tapo)
        if tapo.enable and tapo.asks_actor:
            # Imported here: verl's model config pulls in transformers, which the launch command need not wait for.
            from verl.utils.config import omega_conf_to_dataclass

            model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
            if not model.tokenizer.chat_template:
                raise ConfigError("actor_rollout_ref.model.path", model.path, "needs a model with a chat template")
            config.actor_rollout_ref.rollout.max_model_len, message = context_report(config, tapo, model)
            logger.warning(message)
    _warn_of_unseen_tables(config, tapo)
    _warn_of_unread_reward(config)
    return tapo


def _make_independent_of_this_machine(config: DictConfig, tapo: TapoConfig) -> None:
    """Workers on other nodes see neither this one's files nor its working directory."""
    node = config.algorithm.tapo
    for form in tapo.construction.forms:
        name = "own_prompt" if form.own else "prompt"
        if getattr(tapo.construction, f"{name}_file") is not None:
            node.construction[name] = tapo.template(form)
            node.construction[f"{name}_file"] = None
    if tapo.construction.check is not None:
        # Workers load it by themselves, from a file system that they share or a copy at the same place.
        path, _, name = tapo.construction.check.rpartition(":")
        node.construction.check = f"{Path(path).expanduser().absolute()}:{name}"
    if tapo.dump_dir is not None:
        node.dump_dir = str(Path(tapo.dump_dir).expanduser().absolute())


def _warn_of_unseen_tables(config: DictConfig, tapo: TapoConfig) -> None:
    loggers = config.trainer.logger if OmegaConf.is_list(config.trainer.logger) else [config.trainer.logger]
    if tapo.log_trajectories_every and not set(loggers) & set(TABLE_TRACKERS):
        logger.warning(
            "algorithm.tapo.log_trajectories_every = %d has no effect: trainer.logger = %s holds none of %s",
            tapo.log_trajectories_every,
            list(loggers),
            ", ".join(TABLE_TRACKERS),
        )


def _warn_of_unread_reward(config: DictConfig) -> None:
    """What is correct is what the reward says, and verl's V1 trainer looks for it in one place."""
    for key in ("custom_reward_function.path", "reward_model.enable"):
        if get(config, key):
            logger.warning("%s = %s has no effect in verl's V1 trainer: set reward.%s", key, get(config, key), key)
