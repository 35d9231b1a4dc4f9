"""The check at a run's start, on a made-up package; tests/unit/test_verl_contract.py holds it against verl."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tapo import compatibility, definitions
from tapo.compatibility import TESTED_VERL, ContractError, breaches, called, check_contract, overridden, says
from tapo.definitions import find, signature

FILES = {
    "__init__.py": "from .trainer import Trainer as Renamed\nfrom madeup.deep import helper\nraise RuntimeError\n",
    "trainer.py": """
from .deep.base import Base
LIMIT: int = 3
class Trainer(Base):
    kind = "sync"
    def step(self, batch, metrics, *args, prefix="x", **kwargs):
        self.prepare()
        return finish("done")
try:
    import torch
except ImportError:
    def fallback(a, b=1): pass
""",
    "deep/__init__.py": "def helper(tensor, /, mask, *, eps): pass\n",
    "deep/base.py": "class Base:\n    def __init__(self, config): pass\n    async def stop(self): pass\n",
    "circle/__init__.py": "from .half import lost\n",
    "circle/half.py": "from . import lost\n",
    "fields.py": "class Row:\n    key: str\n    tag: dict = {}\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / "madeup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    definitions._source.cache_clear()
    yield tmp_path / "madeup"
    definitions._source.cache_clear()


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        ("madeup.trainer", "Trainer.step", "(self, batch, metrics, *args, prefix=..., **kwargs)"),
        ("madeup", "Renamed.step", "(self, batch, metrics, *args, prefix=..., **kwargs)"),
        ("madeup", "Renamed.stop", "(self)"),
        ("madeup", "helper", "(tensor, mask, *, eps)"),
        ("madeup.trainer", "fallback", "(a, b=...)"),
        ("madeup.deep.base", "Base", "(config)"),
        ("madeup.fields", "Row", "(*, key, tag=...)"),
    ],
)
def test_definitions_are_found_where_they_are_without_an_import(module, name, parameters):
    found = signature(find(module, name))
    assert str(found).replace("=Ellipsis", "=...") == parameters
    assert "madeup" not in sys.modules


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("madeup", "Trainer"),
        ("madeup.trainer", "Trainer.gone"),
        ("madeup.gone", "x"),
        ("not_there", "x"),
        ("madeup.circle", "lost"),
    ],
)
def test_what_is_not_there_is_not_found(module, name):
    assert find(module, name) is None


def test_constants_are_found_too():
    assert ast.unparse(find("madeup.trainer", "LIMIT")) == "LIMIT: int = 3"
    assert ast.unparse(find("madeup", "Renamed.kind")) == "kind = 'sync'"


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        (overridden("self", "batch", "metrics", "args", "prefix", "kwargs"), None),
        (
            overridden("self", "batch"),
            "has parameters (self, batch, metrics, args, prefix, kwargs), not (self, batch)",
        ),
        (called(3, "prefix", "more"), None),
        (
            called(2),
            "has parameters (self, batch, metrics, *args, prefix=..., **kwargs): "
            "missing a required argument: 'metrics'",
        ),
        (says("self.prepare(", "finish('done')"), None),
        (says("finish('done')", "self.prepare("), "does not say `self.prepare(` where expected"),
    ],
)
def test_each_kind_of_claim_holds_or_says_what_is_wrong(claim, problem):
    assert claim(find("madeup", "Renamed.step")) == problem


@pytest.mark.parametrize("claim", [overridden("self"), called(1)])
def test_a_function_that_became_something_else_is_a_breach(claim):
    found = list(breaches({"madeup.trainer:LIMIT": (claim,)}))
    assert found == ["madeup.trainer:LIMIT is no function or class any more: `LIMIT: int = 3`"]


def test_breaches_are_named_with_their_place():
    contract = {
        "madeup:Renamed": (),
        "madeup:Renamed.gone": (),
        "madeup.deep:helper": (called(2), called(2, "eps")),
    }
    gone, otherwise = breaches(contract)
    assert gone == "madeup:Renamed.gone is missing"
    assert otherwise.startswith("madeup.deep:helper has parameters (tensor, mask, *, eps): missing a required ")


def test_a_broken_contract_stops_in_one_sentence_with_the_versions(monkeypatch, caplog):
    monkeypatch.setattr(compatibility, "CONTRACT", {"madeup:gone": (), "madeup:Renamed": ()})
    installed = {"verl": "0.10.0.dev0", "TransferQueue": "0.2"}
    monkeypatch.setattr(compatibility, "installed_versions", lambda names: {name: installed[name] for name in names})
    with pytest.raises(ContractError) as raised:
        check_contract()
    assert str(raised.value) == (
        "what is installed (verl 0.10.0.dev0, TransferQueue 0.2) is not what this TAPO was written for (tested: verl "
        f"{', '.join(TESTED_VERL)}): madeup:gone is missing. Install a tested version, or set TAPO_ANY_VERL=1 to go on "
        "regardless."
    )
    monkeypatch.setenv("TAPO_ANY_VERL", "1")
    check_contract()
    assert "madeup:gone is missing" in caplog.text


def test_of_many_breaches_the_first_are_spelled_out(monkeypatch):
    monkeypatch.setattr(compatibility, "CONTRACT", {f"madeup:gone{i}": () for i in range(8)})
    with pytest.raises(ContractError, match=r"madeup:gone4 is missing; and 3 more\. Install"):
        check_contract()


def test_the_check_imports_nothing_heavy():
    code = (
        "import sys; from tapo.compatibility import check_contract; check_contract(); "
        "found = {'torch', 'ray', 'verl', 'transfer_queue'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tested_versions_stand_in_the_table():
    table = (Path(__file__).parents[2] / "docs" / "versions.md").read_text()
    assert all(f"| {version} |" in table for version in TESTED_VERL)
