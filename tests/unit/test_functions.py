"""Functions that options name as FILE.py:FUNCTION."""

import pytest

from tapo.functions import fingerprint_of_function, function_given
from tapo.options import ConfigError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("NUMBER = 7\n\ndef check(**given):\n    return 'odd'\n", encoding="utf-8")
    return path


def test_the_function_of_a_file_is_loaded_and_fingerprinted_with_its_content(file):
    assert function_given(f"{file}:check", key="check")() == "odd"
    before = fingerprint_of_function(f"{file}:check")
    assert before.startswith("own.py:check sha256:")
    file.write_text("def check(**given):\n    return 'even'\n", encoding="utf-8")
    assert fingerprint_of_function(f"{file}:check") != before


def test_what_cannot_be_loaded_is_named_with_key_value_and_what_is_needed(file):
    broken = file.with_name("broken.py")
    broken.write_text("import no_such_module\n", encoding="utf-8")
    for spec, needs in (
        ("nowhere.py:check", "needs FILE.py:NAME of a file that exists"),
        (str(file), "needs FILE.py:NAME of a file that exists"),
        (f"{file}:chekc", "needs a function that is in the file"),
        (f"{file}:NUMBER", "needs a function, got 7"),
        (f"{broken}:check", "needs a file that can be loaded .*no_such_module"),
    ):
        with pytest.raises(ConfigError, match=f"check = '{spec}' cannot work: {needs}"):
            function_given(spec, key="check")
