"""The parts that a captured definition is made of, and how they become the source of one module.

A part binds names: code that was written in a cell, a constant written down as source, or the signature of an activity or
workflow that is defined elsewhere. Parts are put in such an order that what a part needs while it is executed stands above it.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from perdure.authoring import modules
from perdure.authoring.imports import Imports
from perdure.authoring.names import Use
from perdure.authoring.notebook import Text


@dataclass(slots=True, eq=False)
class Part:
    """Some lines of a module.

    Attributes:
        names: what they bind.
        source: the lines.
        normal: the lines without what does not change their behaviour: comments, docstrings, layout.
        statements: the same as a tree; its lines count in `text`.
        uses: what they take from the rest of the module.
        text: where they were written; None for constants.
    """

    role: Literal["code", "value", "elsewhere"]
    names: tuple[str, ...]
    source: str
    normal: str
    statements: Sequence[ast.stmt] = ()
    uses: Sequence[Use] = ()
    text: Text | None = None

    def join(self, other: Part) -> None:
        """Two statements that bind the same name (overloads, try/except) stay together, in their order."""
        self.names = tuple(dict.fromkeys([*self.names, *other.names]))
        self.source = f"{self.source}\n{other.source}"
        self.normal = f"{self.normal}\n{other.normal}"
        self.statements = [*self.statements, *other.statements]
        self.uses = [*self.uses, *other.uses]


@dataclass(frozen=True)
class Captured:
    """A definition with everything it uses: the complete source of a module.

    Attributes:
        attribute: the name in the module under which the definition is bound.
        parts: what the module is made of, in its order.
        meaning: what imported names stand for: {"dt": "datetime.datetime"}.
        constants: the values that were written down, by name.
        looked_up: what the namespace had under each name that was looked up there.
        warnings: what the author should know.
        references: the definitions with Temporal's own decorators that it uses.
        implied: modules that it uses without having imported them.
    """

    kind: str
    name: str
    attribute: str
    version: str
    source: str
    parts: tuple[Part, ...]
    meaning: Mapping[str, str]
    constants: Mapping[str, Any]
    looked_up: Mapping[str, Any]
    warnings: tuple[str, ...]
    references: tuple[Any, ...] = ()
    implied: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return f"{modules.PACKAGE}.{re.sub(r'[^0-9A-Za-z_]', '_', self.name)}_{self.version}"


def ordered(parts: Iterable[Part]) -> list[Part]:
    """Parts such that each stands below what it needs while it is executed.

    What is called while a module is executed (a decorator, a base class) needs all of its own names by then; so what is needed
    at once is put in place with everything below it.
    """
    parts = list(parts)
    owners = {name: part for part in parts for name in part.names}
    placed: list[Part] = []
    entered: set[Part] = set()

    def place(part: Part, everything: bool) -> None:
        if part in entered:
            return
        entered.add(part)
        for use in part.uses:
            owner = owners.get(use.name)
            if owner is not None and owner is not part and (everything or use.eager):
                place(owner, True)
        placed.append(part)

    for part in sorted(parts, key=lambda part: part.role == "code"):  # stable: constants first
        place(part, False)
    return placed


def assemble(
    kind: str, name: str, imports: Imports, parts: Sequence[Part], tail: str, *, deferred: bool
) -> str:
    """The source of the module."""
    blocks = [f'"""The {kind} {name} as a notebook defined it, with what it uses. Written by perdure."""']
    if deferred:
        blocks.append("from __future__ import annotations")
    blocks.append("\n".join(_header(kind, imports)))
    blocks += [part.source if part.role == "value" else "\n" + part.source for part in parts]
    if tail:
        blocks.append("\n" + tail)
    return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def _header(kind: str, imports: Imports) -> list[str]:
    own = "from perdure.authoring import generated as _perdure"
    if kind != "workflow":
        return [own, *sorted(imports.standard), *sorted(imports.others)]
    through = ["with _sandbox.imports_passed_through():", f"    {own}"]
    through += [f"    {line}" for line in sorted(imports.others)]
    return ["from temporalio.workflow import unsafe as _sandbox", *sorted(imports.standard), "", *through]


def version_of(
    kind: str, name: str, imports: Imports, parts: Iterable[Part], more: Iterable[str] = ()
) -> str:
    """A short hash of what the definition's behaviour depends on."""
    lines = [kind, name, *sorted(imports.standard | imports.others), *(part.normal for part in parts), *more]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def normalised(statements: Iterable[ast.stmt]) -> str:
    """The statements without comments, layout and docstrings."""
    return "\n".join(ast.unparse(_WithoutDocstrings().visit(copy.deepcopy(item))) for item in statements)


class _WithoutDocstrings(ast.NodeTransformer):
    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Expr(ast.Constant(...))]
        return node

    visit_FunctionDef = _strip
    visit_AsyncFunctionDef = _strip
    visit_ClassDef = _strip
