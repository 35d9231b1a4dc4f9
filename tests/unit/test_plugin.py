"""What verl loads in every process."""

import importlib

from tapo import plugin


def test_a_verl_whose_trainers_moved_still_runs_without_tapo_and_says_why_it_cannot_with_it(monkeypatch, caplog):
    def missing(name):
        raise ImportError(f"cannot import {name}")

    monkeypatch.setattr(importlib, "import_module", missing)
    plugin._register_trainers(None)
    assert "cannot extend the trainers of this verl: cannot import tapo.trainer.trainers" in caplog.text
