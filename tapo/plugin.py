"""What verl loads at import, in every process, through the entry point group `verl.plugins`."""

import importlib
import logging
from types import ModuleType

from tapo.platforms import cpu
from tapo.platforms.post_import import when_imported

logger = logging.getLogger(__name__)


def _register_estimator(module: ModuleType) -> None:
    importlib.import_module("tapo.trainer.estimator")


def _register_trainers(module: ModuleType) -> None:
    try:
        importlib.import_module("tapo.trainer.trainers")
    except ImportError as error:
        # A verl that has moved what the variants extend: runs without TAPO are none of our business, and one with it
        # is stopped by `tapo.compatibility.check_contract`.
        logger.warning("TAPO cannot extend the trainers of this verl: %s", error)


# Most processes train nothing, so nothing heavy is imported before verl itself imports the registries.
cpu.activate_if_selected()
when_imported("verl.trainer.ppo.core_algos", _register_estimator)
when_imported("verl.trainer.ppo.v1", _register_trainers)


def assert_registered() -> None:
    """Make sure that verl has loaded this plugin: it skips one that fails at import with a debug message.

    Raises:
        RuntimeError: verl's registry does not know the estimator `tapo`.
    """
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    if "tapo" not in ADV_ESTIMATOR_REGISTRY:
        raise RuntimeError(
            "verl has not loaded the TAPO plugin. Check that VERL_USE_EXTERNAL_PLUGINS is unset, `auto` or lists tapo, "
            "that tapo-verl is installed where verl is, and that `python -c 'import tapo.plugin'` succeeds."
        )
