"""Activities and workflows that are defined elsewhere, as signatures.

A workflow that calls an activity needs its name, its parameters and its types, not its body. What stays of
a function is `def charge(order: Order) -> str: ...`; of a `@workflow.defn` class its run method and handlers, each without a body.
"""

from __future__ import annotations

import ast
import copy

_HANDLERS = {"run", "signal", "query", "update", "validator"}


def function_signature(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> ast.stmt:
    """The function under the name that the module knows it by, without decorators and body."""
    result = copy.deepcopy(function)
    result.name = name
    result.decorator_list = []
    result.body = [_nothing()]
    return result


def activity_signature(kind: str, style: str, name: str, options: str) -> tuple[str, str]:
    """The decorator line of a signature, and the same line without what does not change a caller's behaviour."""
    if style == "temporal":
        line = f"@_perdure.temporal_activity_elsewhere({name!r})\n"
        return line, line
    return f"@_perdure.{kind}_elsewhere({name!r}, {options!r})\n", f"@_perdure.{kind}_elsewhere({name!r})\n"


def class_signature(definition: ast.ClassDef) -> ast.stmt:
    """A `@workflow.defn` class: its decorators, bases and handlers."""
    result = copy.deepcopy(definition)
    kept: list[ast.stmt] = []
    for item in result.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            map(_is_handler, item.decorator_list)
        ):
            item.body = [_nothing()]
            kept.append(item)
    result.body = kept or [_nothing()]
    return result


def _is_handler(decorator: ast.expr) -> bool:
    inner = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(inner, ast.Attribute | ast.Name) and ast.unparse(inner).rpartition(".")[2] in _HANDLERS


def _nothing() -> ast.stmt:
    return ast.Expr(ast.Constant(...))
