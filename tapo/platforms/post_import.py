"""Run a function right after a named module has been imported, without importing that module now.

A platform has to adjust a few modules of verl and vLLM that take seconds to import and that most processes never need.
The hook waits for them: it sits on `sys.meta_path`, and costs one dictionary look-up an import.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Action = Callable[[ModuleType], None]


class _RunAfterExec(Loader):
    """A module's own loader, followed by the actions that wait for the module."""

    def __init__(self, loader: Loader, waiting: dict[str, list[Action]]) -> None:
        self._loader = loader
        self._waiting = waiting

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with its own loader, then run the actions."""
        # Give the module its own loader back first: `inspect` and `importlib.resources` ask for it.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        # Taken off the list here and not when the module is looked up: `importlib.util.find_spec` looks up, too.
        for action in self._waiting.pop(module.__name__, ()):
            action(module)


class _PostImportFinder(MetaPathFinder):
    """Finds nothing itself; wraps the loader of a module that somebody waits for."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Action]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with its loader wrapped; None for a module nobody waits for."""
        if fullname not in self.waiting:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                break
        if spec is not None and spec.loader is not None:
            spec.loader = _RunAfterExec(spec.loader, self.waiting)
        return spec


_finder = _PostImportFinder()


def when_imported(name: str, action: Action) -> None:
    """Call `action(module)` when the module `name` has been imported: at once, if it has been already.

    An exception of the action is raised by the import statement that triggered it.

    Args:
        name: the module's full dotted name.
        action: called once, with the module.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        action(module)
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.waiting.setdefault(name, []).append(action)
