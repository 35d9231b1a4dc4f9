import ast
import sys

import pytest

from tapo.launch.definitions import find, signature

pytestmark = pytest.mark.usefixtures("madeup")


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
