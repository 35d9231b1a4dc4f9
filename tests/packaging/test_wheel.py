"""What a user gets who installs the wheel, in an environment that does not see the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from tapo.shipped import LAUNCH_SCRIPTS

pytestmark = [pytest.mark.e2e, pytest.mark.packaging]

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "outputs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
RECIPES = (
    "qwen3_1_7b",
    "qwen3_4b",
    "qwen2_5_math_7b",
    "qwen3_8b_fsdp",
    "qwen3_8b_megatron",
    "qwen3_30b_a3b_megatron",
    "cold_start_sft",
)
PARTS = ("run/math", "run/qwen3", "run/qwen3_8b", "training/fsdp2", "training/megatron", "overlay/lora")
TRAINERS = {"cold_start_sft": "verl.trainer.sft_trainer"}
SDIST_HOOK = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"


def run(*command, cwd, **variables):
    """Standard output of a command that must succeed, with nothing of this process's own Python path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFT_OUT)
    run(sys.executable, "-c", SDIST_HOOK, folder, cwd=tree)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist alone."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    run(*pip, "--wheel-dir", folder, sdist, cwd=folder)
    return next(folder.glob("*.whl"))


def fresh_environment(folder):
    """(interpreter, its site-packages): a virtual environment that sees the packages of this one."""
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # Python heeds the .pth files of a folder that lies in a .pth file no more: no editable install comes along.
    (site / "environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, site


def pip_install(python, *arguments):
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    return run(*pip, *arguments, cwd=python.parent)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command where the wheel is installed, in a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    python, site = fresh_environment(folder)
    pip_install(python, "--no-deps", "--ignore-installed", wheel)
    work = folder / "work"
    work.mkdir()
    path = f"{python.parent}:{os.environ['PATH']}"

    def call(*command, **variables):
        return run(*command, cwd=work, PATH=path, MODEL="/model", DATA="/data", OUT="/out", **variables)

    call.folder, call.site = work, site
    return call


def composed(output):
    """The config that Hydra prints, behind whatever verl says at import."""
    return yaml.safe_load(output[output.index("actor_rollout_ref:") :])


def test_the_sdist_is_the_repository_with_its_tests_and_scripts(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "requirements/cpu.txt", "requirements/vllm-cpu.txt", "run_scripts/test.sh", ".ci/run"}
    wanted |= {"tests/packaging/test_wheel.py", "examples/arithmetic/base_model/model.safetensors"}
    wanted |= {"recipe/tapo/config/qwen3_8b_fsdp.yaml", "hydra_plugins/tapo_search_path/tapo_search_path.py"}
    assert wanted <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_wheel_holds_every_file_of_the_package_and_nothing_of_the_repository(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "tapo"
    wanted = {f"tapo/{path.relative_to(package)}" for path in package.rglob("*") if path.is_file()}
    wanted = {name for name in wanted if "__pycache__" not in name and not name.startswith("tapo/run_scripts/")}
    wanted |= {f"tapo/recipes/config/{name}.yaml" for name in (*RECIPES, *PARTS)}
    wanted |= {f"tapo/run_scripts/{name}" for name in LAUNCH_SCRIPTS}
    assert wanted <= names
    assert {name for name in names if name.startswith("tapo/run_scripts/")} <= wanted
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tapo", "hydra_plugins"}
    # With a file of this name the namespace would be ours alone, and other packages' plugins lost.
    assert "hydra_plugins/__init__.py" not in names


def test_the_repository_does_not_leak_into_the_environment(installed):
    code = "import tapo, hydra_plugins.tapo_search_path as p; print(tapo.__file__, p.__file__, sep='\\n')"
    for line in installed("python", "-c", code).split():
        assert Path(line).is_relative_to(installed.site)


def test_the_console_script_helps_and_lists(installed):
    assert "recipe" in installed("tapo", "--help")
    listed = installed("tapo", "recipe", "list")
    assert all(name in listed for name in (*RECIPES, *LAUNCH_SCRIPTS))


def test_the_one_word_composes(installed):
    command = ["python", "-m", "verl.trainer.main_ppo", "+tapo=default", "actor_rollout_ref.rollout.n=8"]
    config = composed(installed(*command, "--cfg", "job"))
    assert config["algorithm"]["tapo"]["m_max"] == 4
    manager = config["actor_rollout_ref"]["rollout"]["agent"]["agent_loop_manager_class"]
    assert manager == "tapo.rollout.manager.TapoAgentLoopManager"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_composes_from_where_it_lies(installed, name):
    path = Path(installed("tapo", "recipe", "path", name).strip())
    assert path.is_relative_to(installed.site)
    trainer = TRAINERS.get(name, "verl.trainer.main_ppo")
    command = ["python", "-m", trainer, "--config-path", path.parent, "--config-name", name, "--cfg", "job"]
    output = installed(*command, "--resolve")
    assert "/data/train.parquet" in output and "path: /model" in output


def test_scripts_start_their_recipe_from_any_folder(installed):
    script = installed("tapo", "recipe", "path", "grpo_fsdp.sh").strip()
    config = composed(installed("bash", script, "trainer.nnodes=2", "--cfg", "job"))
    assert config["algorithm"]["tapo"]["enable"] is False and config["trainer"]["nnodes"] == 2
    assert config["trainer"]["n_gpus_per_node"] == 8


def test_copied_recipes_are_changed_and_launched_by_the_scripts_beside_them(installed):
    copied = installed("tapo", "recipe", "copy", "tapo_fsdp.sh", "qwen3_8b_fsdp", "--to", "mine").split()
    assert sorted(copied) == ["mine/launch.sh", "mine/qwen3_8b_fsdp.yaml", "mine/tapo_fsdp.sh"]
    recipe = installed.folder / "mine" / "qwen3_8b_fsdp.yaml"
    recipe.write_text(f"{recipe.read_text()}  total_training_steps: 7\n")
    config = composed(installed("bash", "mine/tapo_fsdp.sh", "--cfg", "job"))
    assert config["trainer"]["total_training_steps"] == 7


def test_the_cold_starts_sft_finds_its_recipe(installed, tmp_path):
    (tmp_path / "torchrun").write_text('#!/bin/sh\necho "$@" > "$OUT/arguments"\nexit 1\n')
    (tmp_path / "torchrun").chmod(0o755)
    for split in ("train", "val"):
        (tmp_path / f"{split}.parquet").write_text(split)
    script = installed("tapo", "recipe", "path", "cold_start_sft.sh").strip()
    shell = 'PATH="$1:$PATH" DATA="$1" OUT="$1/out" bash "$2" || true'
    installed("bash", "-c", shell, "bash", tmp_path, script)
    arguments = (tmp_path / "out" / "arguments").read_text()
    assert f"--config-path {installed.site}/tapo/recipes/config --config-name cold_start_sft" in arguments


def test_hydra_finds_our_plugin_beside_those_of_other_packages(installed, tmp_path):
    other = tmp_path / "hydra_plugins" / "other_plugin"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    (other / "plugin.py").write_text(
        "from hydra.plugins.search_path_plugin import SearchPathPlugin\n"
        "class OtherPlugin(SearchPathPlugin):\n"
        "    def manipulate_search_path(self, search_path):\n        pass\n"
    )
    code = (
        "from hydra.core.plugins import Plugins\n"
        "from hydra.plugins.search_path_plugin import SearchPathPlugin\n"
        "print(*(plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)))"
    )
    assert {"OtherPlugin", "TapoSearchPathPlugin"} <= set(
        installed("python", "-c", code, PYTHONPATH=str(tmp_path)).split()
    )


@pytest.mark.parametrize("version", ["0.10.0.dev0", "0.10.0.dev20261101+g0123abc", "0.11.0"])
def test_pip_leaves_a_newer_verl_as_it_is(wheel, tmp_path, version):
    python, site = fresh_environment(tmp_path)
    (site / "verl").mkdir()
    (site / "verl" / "__init__.py").write_text("")
    information = site / f"verl-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: verl\nVersion: {version}\n")
    (information / "INSTALLER").write_text("pip\n")
    (information / "RECORD").write_text(f"verl/__init__.py,,\nverl-{version}.dist-info/RECORD,,\n")
    # Nothing can be fetched: pip would fail if it wanted another one.
    pip_install(python, "--force-reinstall", "--no-deps", wheel)
    pip_install(python, wheel)
    code = "from importlib.metadata import version; print(version('verl'))"
    assert run(python, "-c", code, cwd=tmp_path).strip() == version
