"""Functions of the user's own, which options name as `FILE.py:FUNCTION`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tapo.files.fingerprint import fingerprint_of_file
from tapo.options import ConfigError


def function_given(spec: str, *, key: str) -> Callable[..., Any]:
    """The function that an option names as `FILE.py:FUNCTION`. The file is the user's own code, and is run.

    Raises:
        ConfigError: there is no such file, it cannot be loaded, or it holds no such function.
    """
    # Imported here: a command that names none need not wait for verl.
    from verl.utils.import_utils import load_extern_object

    path, _, name = spec.rpartition(":")
    if not Path(path).expanduser().is_file():
        raise ConfigError(key, spec, "needs FILE.py:NAME of a file that exists")
    try:
        function = load_extern_object(str(Path(path).expanduser()), name)
    except AttributeError as error:
        raise ConfigError(key, spec, f"needs a function that is in the file ({error})") from error
    except (ImportError, RuntimeError) as error:
        raise ConfigError(key, spec, f"needs a file that can be loaded ({error.__cause__ or error})") from error
    if not callable(function):
        raise ConfigError(key, spec, f"needs a function, got {function!r:.80}")
    return function


def fingerprint_of_function(spec: str) -> str:
    """File name, function and content of what `function_given` loads; OSError if the file cannot be read."""
    path, _, name = spec.rpartition(":")
    file = Path(path).expanduser()
    return f"{file.name}:{name} {fingerprint_of_file(file)}"
