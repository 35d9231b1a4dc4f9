"""What TAPO asks of a verl run: read its options, refuse what cannot work, fill in what follows from the rest."""

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from tapo.compatibility import assert_registered, check_contract
from tapo.config import ConfigError, TapoConfig, read_tapo_config
from tapo.context import context_report

logger = logging.getLogger(__name__)

TRAINER_MODES = {
    "tapo_sync": "sync",
    "tapo_colocate_async": "colocate_async",
    "tapo_separate_async": "separate_async",
}
"""TAPO's trainer modes and the verl modes they extend, by whose names they go too."""

_MANAGER_KEY = "actor_rollout_ref.rollout.agent.agent_loop_manager_class"
AGENT_LOOP_MANAGER = "tapo.rollout.manager.TapoAgentLoopManager"

TABLE_TRACKERS = ("wandb", "vemlp_wandb", "tensorboard")
"""The names in `trainer.logger` that a table of trajectories can be logged to."""


def uses_tapo(config: DictConfig) -> bool:
    """Whether the run has loaded the config group."""
    return OmegaConf.select(config, "algorithm.tapo") is not None


def check_run(config: DictConfig) -> TapoConfig:
    """Refuse a run that TAPO cannot train correctly, before anything is started.

    Args:
        config: the whole composed config of `verl.trainer.main_ppo`.

    Returns:
        The run's options.

    Raises:
        ConfigError: names the key, its value and what is allowed.
    """
    tapo = read_tapo_config(config)
    for key in _OTHER_TRAINERS:
        _require(_get(config, key) is None, config, key, "TAPO extends the trainers of verl.trainer.main_ppo alone")
    _require(_get(config, "trainer.use_v1") is True, config, "trainer.use_v1", "TAPO extends verl's V1 trainers")
    modes = f"allowed are {', '.join(TRAINER_MODES.values())}, by verl's names or TAPO's ({', '.join(TRAINER_MODES)})"
    known = _get(config, "trainer.v1.trainer_mode") in {*TRAINER_MODES, *TRAINER_MODES.values()}
    _require(known, config, "trainer.v1.trainer_mode", modes)
    constructs = _constructs(_get(config, _MANAGER_KEY))
    _require(constructs, config, _MANAGER_KEY, f"TAPO constructs in {AGENT_LOOP_MANAGER} or a subclass")
    if tapo.enable:
        _check_group(config, tapo)
        for key, reason in _REFUSED.items():
            _require(not _get(config, key), config, key, reason)
        reward_model = "reward.reward_model.enable"
        colocated = _get(config, reward_model) and not _get(config, "reward.reward_model.enable_resource_pool")
        _require(not colocated, config, reward_model, _COLOCATED_REWARD_MODEL)
    return tapo


def _check_group(config: DictConfig, tapo: TapoConfig) -> None:
    """Groups must be compared within themselves, and be able to hold a correct and a wrong rollout."""
    key = "algorithm.adv_estimator"
    _require(_get(config, key) != "gae", config, key, _NEEDS_CRITIC)
    n = _get(config, "actor_rollout_ref.rollout.n")
    if n < 2:
        allowed = "needs at least 2: a lone rollout has no sibling to learn from"
        raise ConfigError("actor_rollout_ref.rollout.n", n, allowed)
    n_pos, n_neg = tapo.thresholds(n)
    if n_pos + n_neg > n:
        allowed = f"needs at least n_pos + n_neg = {n_pos} + {n_neg} rollouts, or no group is ever eligible"
        raise ConfigError("actor_rollout_ref.rollout.n", n, allowed)


_OTHER_TRAINERS = ("async_training", "rollout")
"""Top-level settings of verl's fully-async and one-step-off programs, which have trainers of their own."""

_NEEDS_CRITIC = (
    "it needs a critic, and TAPO compares rollouts within their group; give algorithm.adv_estimator=grpo or another "
    "critic-free one (rloo, reinforce_plus_plus_baseline, ...)"
)

_REFUSED = {
    "critic.enable": "TAPO's advantages are group-relative: no critic takes part",
    "distillation.enabled": "the distillation loss is not defined on constructed rows",
    "actor_rollout_ref.rollout.enable_rollout_routing_replay": "no engine recorded the routing of constructed rows",
    "skip.rollout_tq.enable": "cached rollouts are stored without their constructed rows",
}
"""Settings that exclude TAPO by their nature, and why."""

_COLOCATED_REWARD_MODEL = (
    "it shares the rollout engine's devices and scores once that sleeps, while constructions need a group's rewards "
    "as it rolls out: set reward.reward_model.enable_resource_pool=true"
)


def prepare_run(config: DictConfig) -> TapoConfig:
    """Check the run, set verl's own names back, and make room for the construction prompt.

    verl's trainer compares mode and estimator with its own names in many places, so a run under TAPO's names goes on
    under those that they extend. `rollout.max_model_len` is set unless the user did (see `tapo.context`).
    """
    tapo = check_run(config)
    with open_dict(config):
        mode = config.trainer.v1.trainer_mode
        config.trainer.v1.trainer_mode = TRAINER_MODES.get(mode, mode)
        if config.algorithm.adv_estimator == "tapo":
            config.algorithm.adv_estimator = "grpo"
        _make_independent_of_this_machine(config, tapo)
        if tapo.enable:
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
    if tapo.construction.prompt_file is not None:
        node.construction.prompt = tapo.template()
        node.construction.prompt_file = None
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
        if _get(config, key):
            logger.warning("%s = %s has no effect in verl's V1 trainer: set reward.%s", key, _get(config, key), key)


class CheckBeforeRay(Callback):
    """Hydra callback of the `tapo` config group: a run that cannot work stops before Ray starts."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the composed config, that this process carries the plugin, and that verl is what it was written for.

        Raises:
            SystemExit: with the sentence of the `ConfigError` (see `check_run`), of the `RuntimeError` if verl has
                not loaded the plugin, or of the `ContractError` (see `check_contract`). Hydra turns any other
                exception of a callback into a warning and goes on.
        """
        try:
            check_contract()
            assert_registered()
            check_run(config)
        except (ConfigError, RuntimeError) as error:
            raise SystemExit(f"TAPO: {error}") from error


def _constructs(manager: str | None) -> bool:
    """Whether an agent-loop manager is TAPO's; one's own is loaded to see.

    Raises:
        ConfigError: it cannot be loaded.
    """
    if not manager or manager == AGENT_LOOP_MANAGER:
        return bool(manager)
    from verl.utils.import_utils import load_class_from_fqn

    from tapo.rollout.manager import TapoAgentLoopManager

    try:
        return issubclass(load_class_from_fqn(manager), TapoAgentLoopManager)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(_MANAGER_KEY, manager, f"needs a class that can be imported ({error})") from error


def _get(config: DictConfig, key: str) -> Any:
    return OmegaConf.select(config, key)


def _require(condition: bool, config: DictConfig, key: str, allowed: str) -> None:
    if not condition:
        raise ConfigError(key, _get(config, key), allowed)
