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
        # is stopped by `tapo.launch.contract.check_contract`.
        logger.warning("TAPO cannot extend the trainers of this verl: %s", error)


# Most processes train nothing, so nothing heavy is imported before verl itself imports the registries.
cpu.activate_if_selected()
when_imported("verl.trainer.ppo.core_algos", _register_estimator)
when_imported("verl.trainer.ppo.v1", _register_trainers)
