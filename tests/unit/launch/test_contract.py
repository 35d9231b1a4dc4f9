"""The check at a run's start, on a made-up package; tests/unit/test_verl_contract.py holds it against verl."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from verl.trainer.ppo import core_algos

from tapo.launch import contract
from tapo.launch.contract import (
    TESTED_VERL,
    ContractError,
    assert_registered,
    breaches,
    check_contract,
)

pytestmark = pytest.mark.usefixtures("madeup")


@pytest.mark.parametrize(
    ("claim", "wanted", "problem"),
    [
        ("overridden", ["self", "batch", "metrics", "args", "prefix", "kwargs"], None),
        (
            "overridden",
            ["self", "batch"],
            "has parameters (self, batch, metrics, args, prefix, kwargs), not (self, batch)",
        ),
        ("called", [3, "prefix", "more"], None),
        (
            "called",
            [2],
            "has parameters (self, batch, metrics, *args, prefix=..., **kwargs): "
            "missing a required argument: 'metrics'",
        ),
        ("says", ["self.prepare(", "finish('done')"], None),
        ("says", ["finish('done')", "self.prepare("], "does not say `self.prepare(` where expected"),
    ],
)
def test_each_kind_of_claim_holds_or_says_what_is_wrong(claim, wanted, problem):
    expected = [f"madeup:Renamed.step {problem}"] if problem else []
    assert list(breaches({"madeup:Renamed.step": {claim: wanted}})) == expected


@pytest.mark.parametrize("claim", [{"overridden": ["self"]}, {"called": [1]}])
def test_a_function_that_became_something_else_is_a_breach(claim):
    found = list(breaches({"madeup.trainer:LIMIT": claim}))
    assert found == ["madeup.trainer:LIMIT is no function or class any more: `LIMIT: int = 3`"]


def test_breaches_are_named_with_their_place():
    contract = {
        "madeup:Renamed": {},
        "madeup:Renamed.gone": {},
        "madeup.deep:helper": {"overridden": ["tensor", "mask", "eps"], "called": [2]},
    }
    gone, otherwise = breaches(contract)
    assert gone == "madeup:Renamed.gone is missing"
    assert otherwise.startswith("madeup.deep:helper has parameters (tensor, mask, *, eps): missing a required ")


def test_a_broken_contract_stops_in_one_sentence_with_the_versions(monkeypatch, caplog):
    monkeypatch.setattr(contract, "CONTRACT", {"madeup:gone": {}, "madeup:Renamed": {}})
    installed = {"verl": "0.10.0.dev0", "TransferQueue": "0.2"}
    monkeypatch.setattr(contract, "installed_versions", lambda names: {name: installed[name] for name in names})
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
    monkeypatch.setattr(contract, "CONTRACT", {f"madeup:gone{i}": {} for i in range(8)})
    with pytest.raises(ContractError, match=r"madeup:gone4 is missing; and 3 more\. Install"):
        check_contract()


def test_the_check_imports_nothing_heavy():
    code = (
        "import sys; from tapo.launch.contract import check_contract; check_contract(); "
        "found = {'torch', 'ray', 'verl', 'transfer_queue'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tested_versions_stand_in_the_table():
    table = (Path(__file__).parents[3] / "docs" / "versions.md").read_text()
    assert all(f"| {version} |" in table for version in TESTED_VERL)


def test_a_plugin_that_verl_skipped_is_said_to_be_missing(monkeypatch):
    assert_registered()
    monkeypatch.setattr(core_algos, "ADV_ESTIMATOR_REGISTRY", {})
    with pytest.raises(RuntimeError, match="verl has not loaded the TAPO plugin"):
        assert_registered()


def test_the_check_does_not_load_the_plugin_that_it_looks_for():
    code = "from tapo.launch import checks, contract; contract.assert_registered()"
    environment = os.environ | {"VERL_USE_EXTERNAL_PLUGINS": "another"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "verl has not loaded the TAPO plugin" in done.stderr
