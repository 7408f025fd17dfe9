"""Which functions and classes of a cell become definitions.

* In `%%activity` every top-level function whose name does not begin with an underscore; in `%%workflow` every such `async def`.
  Other functions, classes, imports and constants are helpers, for the notebook's other cells as well. Generators and
  `@contextmanager` functions are helpers, too.
* If any function or class of the cell has a decorator of perdure or Temporal (`@perdure.activity`, `@activity.defn`,
  `@workflow.defn`), exactly the decorated ones are definitions, of whichever kind.

A cell like this holds definitions, imports and assignments; anything else would be executed again in every process that
loads it, and is refused.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perdure.authoring import names
from perdure.authoring.notebook import Text
from perdure.errors import DefinitionError

_DECORATORS: dict[str, tuple[str, Literal["perdure", "temporal"]]] = {
    "perdure.activity": ("activity", "perdure"),
    "perdure.authoring.activity.activity": ("activity", "perdure"),
    "perdure.workflow": ("workflow", "perdure"),
    "perdure.authoring.workflow.workflow": ("workflow", "perdure"),
    "temporalio.activity.defn": ("activity", "temporal"),
    "temporalio.workflow.defn": ("workflow", "temporal"),
}
_ALLOWED = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Pass,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Root:
    """A definition in a cell.

    Attributes:
        kind: "workflow" or "activity".
        style: "plain" for an undecorated function, "perdure" or "temporal" by its decorator.
        attribute: the name that it has in the cell.
        name: Temporal's type name.
    """

    kind: str
    style: Literal["plain", "perdure", "temporal"]
    attribute: str
    name: str


def roots_of(kind: str, cell: Text, namespace: Mapping[str, Any], options: Mapping[str, Any]) -> list[Root]:
    roots = decorated(cell, namespace) or [
        Root(kind, "plain", item.name, options.get("name") or item.name)
        for item in cell.tree.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        and not item.name.startswith("_")
        and _can_be(kind, item)
    ]
    roots = list({root.attribute: root for root in roots}.values())
    if not roots:
        raise _nothing_to_define(kind, cell)
    if options.get("name") and len(roots) > 1:
        raise DefinitionError(
            f"The name {options['name']!r} is for one {kind}, but the cell defines {', '.join(r.attribute for r in roots)}.",
            "Give each its own cell, or begin the names of helpers with an underscore.",
        )
    return roots


def decorated(cell: Text, namespace: Mapping[str, Any]) -> list[Root]:
    roots = []
    imported = {
        name: full
        for item in ast.walk(cell.tree)
        if isinstance(item, ast.Import | ast.ImportFrom)
        for name, full in names.imports(item)
    }
    for item in cell.tree.body:
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for decorator in item.decorator_list:
            inner = decorator.func if isinstance(decorator, ast.Call) else decorator
            known = _DECORATORS.get(_full_name(inner, imported, namespace))
            if known is not None and not (known[1] == "perdure" and isinstance(item, ast.ClassDef)):
                given = _name_argument(decorator)
                roots.append(Root(known[0], known[1], item.name, given or item.name))
                break
    return roots


def _full_name(node: ast.expr, imported: Mapping[str, str], namespace: Mapping[str, Any]) -> str:
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    value = namespace.get(node.id)
    start = imported.get(node.id)
    if start is None and inspect.ismodule(value):
        start = value.__name__
    elif start is None and value is not None:
        start = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    elif start is None:
        start = {"workflow": "temporalio.workflow", "activity": "temporalio.activity"}.get(node.id, node.id)
    full = ".".join([start, *reversed(path)])
    return full.replace("temporalio.workflow._definition.", "temporalio.workflow.")


def _name_argument(decorator: ast.expr) -> str:
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value or "")
    return ""


def _can_be(kind: str, item: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether an undecorated function of a cell is meant as a definition, not as a helper."""
    if any("contextmanager" in ast.unparse(decorator) for decorator in item.decorator_list):
        return False
    yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(item))
    return not yields and (kind == "activity" or isinstance(item, ast.AsyncFunctionDef))


def _own_nodes(item: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(item):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


def _nothing_to_define(kind: str, cell: Text) -> DefinitionError:
    functions = [item for item in cell.tree.body if isinstance(item, ast.FunctionDef) and kind == "workflow"]
    if functions:
        name = functions[-1].name
        return DefinitionError(
            f"workflow {name} is a plain function; a workflow waits for its activities with await.\n"
            f"    {cell.quote(functions[-1].lineno)}",
            f"Write `async def {name}`.",
        )
    generators = [
        item
        for item in cell.tree.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
    ]
    if generators:  # any other function would have been a definition
        name = generators[-1].name
        return DefinitionError(
            f"{kind} {name} is a generator: it yields, and {'an' if kind == 'activity' else 'a'} {kind} has one result.\n"
            f"    {cell.quote(generators[-1].lineno)}",
            "Return a list instead.",
        )
    classes = [item for item in cell.tree.body if isinstance(item, ast.ClassDef)]
    if classes and kind == "workflow":
        name = classes[-1].name
        return DefinitionError(
            f"class {name} is not marked as a workflow.\n    {cell.quote(classes[-1].lineno)}",
            "Write `@workflow.defn` above it, and `@workflow.run` above its main method.",
        )
    example = (
        "async def payment(order: dict) -> dict" if kind == "workflow" else "def charge(order: dict) -> str"
    )
    return DefinitionError(
        f"The cell defines no {kind}.",
        f"Write a function whose name has no leading underscore: `{example}: ...`",
    )


def check_statements(kind: str, cell: Text) -> None:
    for item in _statements(cell.tree.body):
        text = isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
        if not isinstance(item, _ALLOWED) and not text and type(item).__name__ != "TypeAlias":
            raise DefinitionError(
                f"A %%{kind} cell holds definitions; this line does something.\n    {cell.quote(item.lineno)}",
                "Move it to a cell of its own: here it would be done again in every process that runs the definition.",
            )


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a cell, and those in its top-level `if`, `try` and `with`."""
    for item in body:
        if isinstance(item, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(item, part, []))
            for handler in getattr(item, "handlers", []):
                yield from _statements(handler.body)
        else:
            yield item
