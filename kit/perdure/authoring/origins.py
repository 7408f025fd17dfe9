"""Where things come from: an importable module, or an assignment that can be repeated."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from perdure.authoring import modules, names
from perdure.authoring.values import NotDurable, explain

MISSING = object()


def importable(value: Any) -> tuple[str, str] | None:
    """(module, qualified name) under which other processes can import the very object; None if they cannot."""
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or module == "__main__":
        return None
    if modules.is_cell_module(module) or "<" in path:
        return None
    return _found_in(module, path, value)


def _found_in(module: str, path: str, value: Any) -> tuple[str, str] | None:
    """The shortest public name: `pathlib.Path` rather than the private module that defines it."""
    names_of = module.split(".")
    for count in range(1, len(names_of) + 1):
        candidate = sys.modules.get(".".join(names_of[:count]))
        if getattr(candidate, "__spec__", None) is None and candidate is not builtins:
            continue
        inner: Any = candidate
        for part in path.split("."):
            inner = getattr(inner, part, MISSING)
        if inner is value:
            return ".".join(names_of[:count]), path
    return None


def replaces_builtin(name: str, value: Any) -> bool:
    """IPython puts an `open` of its own into the namespace, which wraps Python's."""
    return (
        callable(value) and name in names.BUILTINS and inspect.unwrap(value) is getattr(builtins, name, None)
    )


def is_display(statement: ast.stmt) -> bool:
    """Whether an assignment only puts things together, so that executing it again makes the same value."""
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    if not isinstance(value, ast.Dict | ast.List | ast.Tuple | ast.Set):
        return False
    parts = [part for item in ast.iter_child_nodes(value) for part in _outside_functions(item)]
    return not any(isinstance(part, ast.Call | ast.Await) for part in parts)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Lambda):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def is_literal(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    try:
        ast.literal_eval(value if value is not None else ast.Name("x", ast.Load()))
    except ValueError:
        return False
    return True


def no_source(value: Any) -> NotDurable:
    """Why a function, class or object of the notebook cannot come with its source."""
    if inspect.ismethod(value):
        return NotDurable(
            f"a method of {type(value.__self__).__name__} object",
            "Create the object inside the function and call its method there.",
        )
    if getattr(value, "__name__", "") == "<lambda>":
        return NotDurable("a lambda whose source is not known", "Write it as a function with def, in a cell.")
    if getattr(value, "__closure__", None):
        return NotDurable(
            f"a function made inside another one ({value.__qualname__})",
            "Write it with def at the top level of a cell, or make it inside the function that uses it.",
        )
    if isinstance(value, type) or inspect.isroutine(value):
        what = "class" if isinstance(value, type) else "function"
        return NotDurable(f"a {what} whose source is not known", "Define it in a cell or in a .py file.")
    return NotDurable(*explain(value))
