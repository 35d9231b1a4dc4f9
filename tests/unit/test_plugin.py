"""What verl loads in every process."""

import importlib

import pytest

from tapo import compatibility, plugin


def test_a_verl_whose_trainers_moved_still_runs_without_tapo_and_says_why_it_cannot_with_it(monkeypatch, caplog):
    def missing(name):
        raise ImportError(f"cannot import {name}")

    monkeypatch.setattr(importlib, "import_module", missing)
    plugin._register_trainers(None)
    assert "cannot extend the trainers of this verl: cannot import tapo.trainer.trainers" in caplog.text


def test_a_plugin_that_verl_skipped_is_said_to_be_missing(monkeypatch):
    from verl.trainer.ppo import core_algos

    compatibility.assert_registered()
    monkeypatch.setattr(core_algos, "ADV_ESTIMATOR_REGISTRY", {})
    with pytest.raises(RuntimeError, match="verl has not loaded the TAPO plugin"):
        compatibility.assert_registered()
