"""What verl loads in every process."""

import importlib
import subprocess
import sys

from tapo import plugin


def test_a_verl_whose_trainers_moved_still_runs_without_tapo_and_says_why_it_cannot_with_it(monkeypatch, caplog):
    def missing(name):
        raise ImportError(f"cannot import {name}")

    monkeypatch.setattr(importlib, "import_module", missing)
    plugin._register_trainers(None)
    assert "cannot extend the trainers of this verl: cannot import tapo.trainer.trainers" in caplog.text


def test_the_trainers_are_there_whichever_module_is_imported_first():
    code = (
        "import tapo.trainer.trainers as trainers\n"
        "print('registered', *sorted(name for name in trainers.TRAINER_REGISTRY if '_' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modes = ("colocate_async", "separate_async", "sync")
    registered = sorted(
        ["colocate_async", "separate_async", *(f"{kind}_{m}" for kind in ("tapo", "opsd") for m in modes)]
    )
    assert done.stdout.splitlines()[-1].split() == ["registered", *registered]
    assert "cannot extend" not in done.stderr
