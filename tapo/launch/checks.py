"""What TAPO asks of a verl run: a run that cannot work is refused before anything is started."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from tapo.config import ConfigError, FormOptions, TapoConfig, read_tapo_config
from tapo.files.model_folder import half_written, taught_form
from tapo.functions import function_given
from tapo.launch.contract import assert_registered, check_contract

TRAINER_MODES = {"tapo_sync": "sync", "tapo_colocate_async": "colocate_async", "tapo_separate_async": "separate_async"}
"""TAPO's trainer modes and the verl modes they extend, by whose names they go too."""

FSDP = ("fsdp", "fsdp2")
"""The strategies whose engine is verl's FSDP."""

_MANAGER_KEY = "actor_rollout_ref.rollout.agent.agent_loop_manager_class"
AGENT_LOOP_MANAGER = "tapo.rollout.manager.TapoAgentLoopManager"


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
        _require(get(config, key) is None, config, key, "TAPO extends the trainers of verl.trainer.main_ppo alone")
    _require(get(config, "trainer.use_v1") is True, config, "trainer.use_v1", "TAPO extends verl's V1 trainers")
    modes = f"allowed are {', '.join(TRAINER_MODES.values())}, by verl's names or TAPO's ({', '.join(TRAINER_MODES)})"
    known = get(config, "trainer.v1.trainer_mode") in {*TRAINER_MODES, *TRAINER_MODES.values()}
    _require(known, config, "trainer.v1.trainer_mode", modes)
    constructs = _constructs(get(config, _MANAGER_KEY))
    _require(constructs, config, _MANAGER_KEY, f"TAPO constructs in {AGENT_LOOP_MANAGER} or a subclass")
    _check_model(config)
    if tapo.enable and tapo.asks_actor and tapo.keep_prefix:
        _check_form(config, tapo)
    if tapo.enable:
        _check_group(config, tapo)
        if tapo.construction.check is not None:
            function_given(tapo.construction.check, key="algorithm.tapo.construction.check")
        for key, reason in _REFUSED.items():
            _require(not get(config, key), config, key, reason)
        reward_model = "reward.reward_model.enable"
        colocated = get(config, reward_model) and not get(config, "reward.reward_model.enable_resource_pool")
        _require(not colocated, config, reward_model, _COLOCATED_REWARD_MODEL)
    return tapo


def _check_model(config: DictConfig) -> None:
    """A folder with a config and without its weights would be found out minutes later, by a worker."""
    key = "actor_rollout_ref.model.path"
    elsewhere = get(config, "actor_rollout_ref.actor.megatron.use_dist_checkpointing")
    if not elsewhere and (told := half_written(str(get(config, key)))):
        raise ConfigError(key, get(config, key), told)


def _check_form(config: DictConfig, tapo: TapoConfig) -> None:
    """A model that was taught one form of construction is not asked for another."""
    taught = taught_form(str(get(config, "actor_rollout_ref.model.path")))
    if taught is None:
        return
    known, node = FormOptions.from_mapping(taught), "algorithm.tapo.construction"
    if not set(tapo.construction.forms) <= set(known.forms):
        name = "copy" if tapo.construction.copy != known.copy else "correction"
        allowed = f"the model's cold start taught {name} = {taught[name]}; ask for that, or teach the other one"
        raise ConfigError(f"{node}.{name}", getattr(tapo.construction, name), allowed)


def _check_group(config: DictConfig, tapo: TapoConfig) -> None:
    """Groups must be compared within themselves, and be able to hold a correct and a wrong rollout."""
    key = "algorithm.adv_estimator"
    _require(get(config, key) != "gae", config, key, _NEEDS_CRITIC)
    coupled = tapo.advantage == "coupled"
    _require(not coupled or get(config, key) in ("grpo", "tapo"), config, key, _NEEDS_GRPO)
    strategy = "actor_rollout_ref.actor.strategy"
    measures = bool(tapo.ref.grad_norms_every)
    _require(not measures or get(config, strategy) in FSDP, config, strategy, _NEEDS_FSDP)
    n = get(config, "actor_rollout_ref.rollout.n")
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

_NEEDS_GRPO = (
    "algorithm.tapo.advantage=coupled normalises rollouts and constructed rows together as GRPO does, which changes "
    "the rollouts' advantages: it needs algorithm.adv_estimator=grpo"
)

_NEEDS_FSDP = "algorithm.tapo.ref.grad_norms_every takes norms without an update, which it can with fsdp and fsdp2"

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


class CheckBeforeRay(Callback):
    """Hydra callback of a config group: a run that cannot work stops before Ray starts."""

    name = "TAPO"
    check = staticmethod(check_run)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the composed config, that this process carries the plugin, and that verl is what it was written for.

        Raises:
            SystemExit: with the sentence of the `ConfigError` (see `check`), of the `RuntimeError` if verl has
                not loaded the plugin, or of the `ContractError` (see `check_contract`). Hydra turns any other
                exception of a callback into a warning and goes on.
        """
        try:
            check_contract()
            assert_registered()
            self.check(config)
        except (ConfigError, RuntimeError) as error:
            raise SystemExit(f"{self.name}: {error}") from error


def _constructs(manager: str | None) -> bool:
    """Whether an agent-loop manager is TAPO's; one's own is loaded to see.

    Raises:
        ConfigError: it cannot be loaded.
    """
    if not manager or manager == AGENT_LOOP_MANAGER:
        return bool(manager)
    from verl.utils.import_utils import load_class_from_fqn

    try:
        ancestors = load_class_from_fqn(manager).__mro__
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(_MANAGER_KEY, manager, f"needs a class that can be imported ({error})") from error
    # By name: the launch knows nothing of the rollout, which takes its context's length from here.
    return AGENT_LOOP_MANAGER in {f"{base.__module__}.{base.__qualname__}" for base in ancestors}


def get(config: DictConfig, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    return OmegaConf.select(config, key)


def _require(condition: bool, config: DictConfig, key: str, allowed: str) -> None:
    if not condition:
        raise ConfigError(key, get(config, key), allowed)
