"""Definitions in the source of an installed package, found without importing it."""

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


class NotCallableError(TypeError):
    """A definition is asked for its parameters that has none."""


def find(module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> ast.stmt | None:
    """The statement that defines a name in a module, or None.

    Args:
        module: such as `verl.trainer.ppo.v1`.
        name: of a class, a function or a constant, or `Class.member`. Names that the module imports from others are
            followed, and so are base classes.
        seen: where the search has been: modules may import from each other.
    """
    if (module, name) in seen:
        return None
    seen |= {(module, name)}
    head, _, member = name.partition(".")
    for statement in _statements(_source(module)[0]):
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if head == (alias.asname or alias.name):
                    return find(_origin(module, statement), f"{alias.name}.{member}" if member else alias.name, seen)
        elif head in _defined(statement):
            return _member(module, statement, member, seen) if member else statement
    return None


def signature(statement: ast.stmt) -> Signature:
    """Of a function, or of a class's `__init__`; a class without one takes its annotated fields by name.

    A default is there or not; its value is not known.

    Raises:
        NotCallableError: the statement defines neither.
    """
    if isinstance(statement, ast.ClassDef):
        for part in statement.body:
            if isinstance(part, Function) and part.name == "__init__":
                own = signature(part)
                return own.replace(parameters=list(own.parameters.values())[1:])
        fields = [part for part in statement.body if isinstance(part, ast.AnnAssign)]
        return Signature([_parameter(ast.unparse(f.target), Parameter.KEYWORD_ONLY, bool(f.value)) for f in fields])
    if not isinstance(statement, Function):
        raise NotCallableError(f"is no function or class any more: `{ast.unparse(statement)}`")
    given = statement.args
    positional = [*given.posonlyargs, *given.args]
    required = len(positional) - len(given.defaults)
    found = [_parameter(p.arg, Parameter.POSITIONAL_OR_KEYWORD, i >= required) for i, p in enumerate(positional)]
    found += [_parameter(p.arg, Parameter.VAR_POSITIONAL, False) for p in [given.vararg] if p]
    keywords = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    found += [_parameter(p.arg, Parameter.KEYWORD_ONLY, default is not None) for p, default in keywords]
    return Signature(found + [_parameter(p.arg, Parameter.VAR_KEYWORD, False) for p in [given.kwarg] if p])


def _parameter(name: str, kind: Any, has_default: bool) -> Parameter:
    return Parameter(name, kind, default=... if has_default else Parameter.empty)


@lru_cache
def _source(module: str) -> tuple[ast.Module, str]:
    """(its tree, what relative imports in it start from); an empty tree where there is no such module."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, *rest)
        for file, package in (
            (path / "__init__.py", module),
            (path.with_name(f"{path.name}.py"), module.rpartition(".")[0]),
        ):
            if file.is_file():
                return ast.parse(file.read_text(encoding="utf-8")), package
    return ast.Module(body=[], type_ignores=[]), module


def _statements(block: ast.AST) -> Iterator[ast.stmt]:
    """A module's own statements, also those under a condition."""
    for part in ast.iter_child_nodes(block):
        if isinstance(part, ast.stmt):
            yield part
        if isinstance(part, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _statements(part)


def _defined(statement: ast.stmt) -> set[str]:
    if isinstance(statement, Function | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _member(module: str, owner: ast.stmt, name: str, seen: frozenset[tuple[str, str]]) -> ast.stmt | None:
    if not isinstance(owner, ast.ClassDef):
        return None
    for statement in owner.body:
        if name in _defined(statement):
            return statement
    inherited = (find(module, f"{base.id}.{name}", seen) for base in owner.bases if isinstance(base, ast.Name))
    return next((statement for statement in inherited if statement is not None), None)


def _origin(module: str, statement: ast.ImportFrom) -> str:
    """The absolute name of the module that names are imported from."""
    if not statement.level:
        return statement.module or ""
    return importlib.util.resolve_name("." * statement.level + (statement.module or ""), _source(module)[1])
