"""Actions that wait for a module to be imported."""

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest

from tapo.platforms.post_import import when_imported


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
        raise RuntimeError("changed")

    when_imported(a_module, refuse)
    with pytest.raises(RuntimeError, match="changed"):
        importlib.import_module(a_module)
