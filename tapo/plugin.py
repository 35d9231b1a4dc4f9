"""What verl loads at import, in every process, through the entry point group `verl.plugins`."""

import importlib
import logging
from types import ModuleType

from wrapt import register_post_import_hook

from tapo.platforms import cpu, weight_sockets

logger = logging.getLogger(__name__)


def _register_estimator(module: ModuleType) -> None:
    importlib.import_module("tapo.trainer.estimator")


def _register_trainers(module: ModuleType) -> None:
    _import("tapo.trainer.trainers")


def _register_baselines(module: ModuleType) -> None:
    _import("tapo.baselines.opsd.trainers")


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        # A verl that has moved what the variants extend: runs without TAPO are none of our business, and one with it
        # is stopped by `tapo.launch.contract.check_contract`.
        logger.warning("TAPO cannot extend the trainers of this verl: %s", error)


# Most processes train nothing, so nothing heavy is imported before verl itself imports the registries.
cpu.activate_if_selected()
register_post_import_hook(weight_sockets.tell_runs_apart, weight_sockets.MODULE)
register_post_import_hook(_register_estimator, "verl.trainer.ppo.core_algos")
register_post_import_hook(_register_trainers, "verl.trainer.ppo.v1")
# Behind TAPO's own, which they extend and whose import may be what imports verl's in the first place.
register_post_import_hook(_register_baselines, "tapo.trainer.trainers")
