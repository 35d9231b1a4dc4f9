"""What verl and vLLM take for granted that a CPU does not give, one function each.

Each is called with the module it changes, right after that module has been imported, and checks first that its target
is still what it was written for: an upgrade must fail here, with a sentence, and not somewhere in a run.
"""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

POLL_S = 0.2


class PatchError(RuntimeError):
    """The target of a patch is gone or takes other arguments."""


def target(owner: Any, name: str, parameters: list[str], *, more: bool = False) -> Callable:
    """`owner.name`, if it still takes these parameters; with `more`, at least these, in front of others.

    Raises:
        PatchError: it doesn't.
    """
    found_there: Any = getattr(owner, name, None)
    found = None if found_there is None else list(inspect.signature(found_there).parameters)
    if found is None or (found[: len(parameters)] if more else found) != parameters:
        raise PatchError(
            f"TAPO cannot adjust {owner.__name__}.{name}: its parameters are {found}, expected {parameters}. The "
            "installed version differs from those this was written for."
        )
    return found_there


def name_gloo_once(module: Any) -> None:
    """verl names a backend for "cpu" and one for the device: here torch refuses the second "cpu"."""
    init_ray = target(module, "initialize_global_process_group_ray", ["timeout_second", "backend"])
    init = target(module, "initialize_global_process_group", ["timeout_second"])

    @wraps(init_ray)
    def initialize_global_process_group_ray(timeout_second=None, backend=None):
        return init_ray(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    @wraps(init)
    def initialize_global_process_group(timeout_second=36000):
        init_ray(timeout_second=timeout_second, backend="cpu:gloo")
        return tuple(int(os.environ[name]) for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"))

    module.initialize_global_process_group_ray = initialize_global_process_group_ray
    module.initialize_global_process_group = initialize_global_process_group


def copy_received_weights(module: Any) -> None:
    """`.to(device)` copies no tensor that is there already: what is loaded would point into a buffer about to close."""
    receiver = module.BucketedWeightReceiver
    receive = target(receiver, "receive_weights", ["self", "on_bucket_received"])

    @wraps(receive)
    def receive_weights(self, on_bucket_received):
        def on_copied_bucket(weights, is_last):
            on_bucket_received([(name, tensor.clone()) for name, tensor in weights], is_last)

        receive(self, on_copied_bucket)

    receiver.receive_weights = receive_weights


def keep_linear_weights(module: Any) -> None:
    """vLLM repacks a linear layer's weight for the CPU and drops the original: no later weight could be loaded."""
    target(module, "dispatch_cpu_unquantized_gemm", ["layer", "remove_weight"])

    def dispatch_cpu_unquantized_gemm(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    module.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm


def offload_unpinned(module: Any) -> None:
    """verl keeps a reference policy's weights in pinned host memory, which torch can only ask an accelerator for."""
    policy = module.CPUOffloadPolicy
    target(policy, "__init__", ["self", "pin_memory"])

    def unpinned_policy(pin_memory: bool = True) -> Any:
        return policy(pin_memory=False)

    module.CPUOffloadPolicy = unpinned_policy


def poll_often(module: Any) -> None:
    """verl looks every two seconds whether there is a step to train on: most of its time with models that fit a CPU."""
    buffer = module.ReplayBuffer
    wait = target(buffer, "_wait_for_next_poll", ["self", "partition_id", "last_debug_time"])

    @wraps(wait)
    def wait_for_next_poll(self, partition_id, last_debug_time):
        self.poll_interval = min(self.poll_interval, POLL_S)
        return wait(self, partition_id, last_debug_time)

    buffer._wait_for_next_poll = wait_for_next_poll


PATCHES = {
    "verl.trainer.ppo.v1.replay_buffer": poll_often,
    "verl.utils.distributed": name_gloo_once,
    "verl.workers.engine.fsdp.transformer_impl": offload_unpinned,
    "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer": copy_received_weights,
    "vllm.model_executor.layers.utils": keep_linear_weights,
}
"""The module that each patch changes."""
