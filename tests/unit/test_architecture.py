"""Who may import whom: docs/architecture.md, and the layers in pyproject.toml."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BESIDE_TORCH = ("verl", "transfer_queue", "ray", "vllm", "tensordict", "hydra", "omegaconf", "transformers")


def test_the_core_imports_with_torch_alone():
    code = (
        "import importlib, pkgutil, sys\n"
        f"sys.modules.update(dict.fromkeys({BESIDE_TORCH}))  # None makes an import of it fail\n"
        "import tapo.core\n"
        "names = [module.name for module in pkgutil.walk_packages(tapo.core.__path__, 'tapo.core.')]\n"
        "print(*map(importlib.import_module, names), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(list((ROOT / "tapo" / "core").glob("[a-z]*.py")))


def test_packages_import_one_way_only():
    # In a process of its own: it sets up logging anew, which silences the loggers of other tests.
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_every_module_that_the_page_names_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.name for path in (ROOT / "tapo").iterdir() if path.is_dir()}
    named = {name for name in re.findall(r"`(\w+)\.(\w+)`", page) if name[0] in rooms}
    files = {tuple(path) for path in re.findall(r"`tapo/(\w+)/(\w+)\.py`", page)}
    assert len(named) > 20
    assert {name for name in named | files if not (ROOT / "tapo" / name[0] / f"{name[1]}.py").is_file()} == set()


def test_no_test_module_imports_another():
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(path)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    }
    assert found == set()


def imported(path):
    """Full names of modules, and of what is imported from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
