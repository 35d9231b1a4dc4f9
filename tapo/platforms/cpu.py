"""verl on a CPU: the platform, its device module, and what has to be in the environment.

Chosen with `VERL_PLATFORM=cpu`, as verl chooses every platform. A "device" is a process: each data-parallel rank is
one, and Ray hands them out as the resource `GPU`, of which a run declares as many as it likes.
"""

import logging
import os
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from verl.plugin.platform import PlatformBase, PlatformRegistry
from wrapt import register_post_import_hook

from tapo.platforms import patches, vllm_distribution

logger = logging.getLogger(__name__)

ENVIRONMENT: dict[str, str] = yaml.safe_load(Path(__file__).with_name("cpu_environment.yaml").read_text())
"""Set where the user has not."""


def activate_if_selected() -> None:
    """Register the CPU platform and what belongs to it, if `VERL_PLATFORM` asks for it.

    Raises:
        PatchError: verl or vLLM is not the version that the platform was written for.
    """
    if os.environ.get("VERL_PLATFORM", "").strip().lower() != "cpu":
        return
    try:
        activate()
    except patches.PatchError as error:
        # verl skips a plugin that fails with a debug message, so the reason is given here.
        logger.error("%s", error)
        raise


def activate() -> None:
    """Fill in the environment, line up the patches, and register the CPU platform.

    Registered last: where a patch fails, verl then stops at an unknown platform instead of going on without the patch.

    Raises:
        PatchError: see `activate_if_selected`.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    vllm_distribution.answer_for_vllm()
    for module, patch in patches.PATCHES.items():
        register_post_import_hook(patch, module)
    PlatformRegistry.register(platform="cpu")(PlatformCPU)


def _cpu_module() -> ModuleType:
    """`torch.cpu`, completed by what verl calls on `torch.cuda`.

    Caches do not exist and calls about them do nothing; memory is that of the process and of the machine.
    """
    module: Any = ModuleType("torch.cpu (for verl)", _cpu_module.__doc__)
    for name in ("Stream", "current_device", "current_stream", "device_count", "is_available", "stream", "synchronize"):
        setattr(module, name, getattr(torch.cpu, name))
    for name in ("empty_cache", "ipc_collect", "reset_peak_memory_stats", "set_device"):
        setattr(module, name, lambda *args, **kwargs: None)
    for name in ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved"):
        # Linux counts ru_maxrss in KiB.
        setattr(module, name, lambda *args, **kwargs: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    module.get_device_name = lambda *args, **kwargs: "cpu"
    module.get_rng_state = lambda *args, **kwargs: torch.get_rng_state()
    module.set_rng_state = lambda state, *args, **kwargs: torch.set_rng_state(state)
    module.manual_seed = module.manual_seed_all = torch.manual_seed
    module.mem_get_info = lambda *args, **kwargs: (_memory_pages("SC_AVPHYS_PAGES"), _memory_pages("SC_PHYS_PAGES"))
    return module


def _memory_pages(name: str) -> int:
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")


def _always(value: Any = None) -> Callable[..., Any]:
    """A method that returns the same whatever it is given."""
    return lambda self, *args, **kwargs: value


class PlatformCPU(PlatformBase):
    """Platform backend for CPUs: gloo collectives, and weights that travel through shared memory."""

    device_name = vendor_name = "cpu"
    device_module = _cpu_module()
    is_available = _always(True)
    # Never found by auto-detection: a CPU is what remains when an accelerator is not found, often by mistake.
    is_platform_available = _always(False)
    # A number would name a device of the accelerator.
    current_device = _always("cpu")
    device_count = _always(1)
    get_device_capability = _always((None, None))
    communication_backend_name = _always("gloo")
    # verl and Ray know how to count GPUs, and a run declares how many there are. In this variable Ray names those that
    # it has handed out.
    ray_resource_name = _always("GPU")
    visible_devices_envvar = _always("CUDA_VISIBLE_DEVICES")
    # verl then takes shared memory.
    is_ipc_supported = _always(False)
    # Nothing to select, to wait for, to set, to empty or to profile.
    set_device = synchronize = set_allocator_settings = empty_cache = _always()
    profiler_start = profiler_stop = cudart = _always()

    def ray_noset_envvars(self) -> list[str]:
        """As for CUDA: the variable of `visible_devices_envvar` is Ray's."""
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def nvtx_range(self, msg: str) -> AbstractContextManager[None]:
        """No ranges."""
        return nullcontext()

    def manual_seed(self, seed: int) -> None:
        """Seed torch's generator."""
        torch.manual_seed(seed)

    manual_seed_all = manual_seed
