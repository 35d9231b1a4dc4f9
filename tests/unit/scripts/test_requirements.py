"""setup.py declares what the package imports, and pins nothing that verl chooses."""

import ast
import re
import sys
from importlib.metadata import metadata, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.stand_ins.sources import PACKAGE, imports_of

ROOT = Path(__file__).parents[3]
OPTIONAL = {"vllm"}
CHOSEN_BY_VERL = ("torch", "transformers", "tensordict", "ray", "omegaconf", "hydra-core", "numpy")


@pytest.fixture(scope="module")
def setup_arguments():
    """The literals that setup.py hands to `setup`."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup")
    return {keyword.arg: keyword.value for keyword in call.keywords}


@pytest.fixture(scope="module")
def required(setup_arguments):
    requirements = [Requirement(text) for text in ast.literal_eval(setup_arguments["install_requires"])]
    return {normal(requirement.name): requirement for requirement in requirements}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared_or_optional_and_everything_declared_is_imported(required):
    imported = {name for path in PACKAGE.rglob("*.py") for name in imports_of(path)}
    imported -= set(sys.stdlib_module_names) | {"tapo"} | OPTIONAL
    distributions = packages_distributions()
    found = {normal(distributions[name][0]) for name in imported}
    assert sorted(found - set(required)) == []
    assert sorted(set(required) - found) == []


def test_what_verl_chooses_is_declared_without_a_version(required):
    assert {name: str(required[name].specifier) for name in CHOSEN_BY_VERL} == dict.fromkeys(CHOSEN_BY_VERL, "")


def test_no_requirement_has_an_upper_bound(required):
    operators = {part.operator for requirement in required.values() for part in requirement.specifier}
    assert operators == {">="}
    # A pre-release that is installed satisfies it; pip does not look for others.
    assert required["verl"].specifier.contains("0.10.0.dev0", prereleases=True)
    assert not required["verl"].specifier.prereleases


def test_extras_for_gpus_are_verls_own(setup_arguments):
    extras = setup_arguments["extras_require"]
    names = [ast.literal_eval(key) for key in extras.keys]
    found = {name: value for name, value in zip(names, extras.values, strict=True) if name not in ("cpu", "dev")}
    provided = set(metadata("verl").get_all("Provides-Extra"))
    assert set(found) == {"vllm", "sglang", "fsdp", "megatron"} and set(found) <= provided
    assert {name: ast.literal_eval(value) for name, value in found.items()} == {n: [f"verl[{n}]"] for n in found}
