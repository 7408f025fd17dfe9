"""A definition and everything it uses from the notebook become the source of one importable module.

`capture` starts at the definition's own statements, asks `names.uses` what they look up, finds each name in the cell or in the
notebook's namespace, and goes on with what it found, until nothing is missing:

* an import becomes the same import; what an installed package defines is imported from there;
* a function or class of the notebook comes with its source; a name that another cell's text defines, too;
* a constant is written down as source (`values.express`);
* an activity or workflow comes as a signature: which body it has is decided when it runs, so changing an activity does not
  make a new version of the workflows that call it. An activity that calls another one as a plain function gets its source;
* anything else is refused, with its name, the line that uses it, and what to do.

A magic's cell has not been executed when it is captured: its own statements come first. A decorated function in an ordinary
cell is captured while the cell runs; there the namespace comes before the cell's assignments.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from perdure.authoring import modules, names
from perdure.authoring.activity import Activity
from perdure.authoring.declaring import kind_of, temporal_name
from perdure.authoring.imports import Imports
from perdure.authoring.names import Use
from perdure.authoring.notebook import Found, Notebook, Text
from perdure.authoring.origins import (
    MISSING,
    importable,
    is_display,
    is_literal,
    no_source,
    replaces_builtin,
)
from perdure.authoring.parts import Captured, Part, assemble, normalised, ordered, version_of
from perdure.authoring.references import activity_signature, class_signature, function_signature
from perdure.authoring.roots import Root
from perdure.authoring.values import NotDurable, express
from perdure.authoring.workflow import Workflow
from perdure.errors import DefinitionError

IMPLIED = {"asyncio": "asyncio", "workflow": "temporalio.workflow", "activity": "temporalio.activity"}
"""Modules that a cell may use without importing them, when the notebook has nothing else under these names."""

_OF_IPYTHON = {"display": ("IPython.display", "display")}
_PROVIDED = names.BUILTINS - {"display", "get_ipython", "exit", "quit"}
_SECRET = re.compile(r"passw|secret|token|api_?key|credential", re.IGNORECASE)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def capture(
    root: Root,
    cell: Text,
    namespace: Mapping[str, Any],
    others: Iterable[Root] = (),
    *,
    executed: bool = False,
) -> Captured:
    """Captures a definition.

    Args:
        cell: the text that holds it.
        others: the cell's other definitions.
        executed: the cell is an ordinary one, being executed; False for a magic's cell.

    Raises:
        DefinitionError: it uses something that cannot be made durable, or a name that is not there.
    """
    work = _Capture(root, cell, Notebook(namespace), {item.attribute: item for item in others}, executed)
    return work.run()


class _Capture:
    def __init__(
        self, root: Root, cell: Text, notebook: Notebook, others: Mapping[str, Root], executed: bool
    ) -> None:
        self._root = root
        self._cell = cell
        self._notebook = notebook
        self._others = {name: item for name, item in others.items() if name != root.attribute}
        self._executed = executed
        self._imports = Imports()
        self._parts: dict[str, Part] = {}
        self._todo: list[Part] = []
        self._constants: dict[str, Any] = {}
        self._looked_up: dict[str, Any] = {}
        self._warnings: list[str] = []
        self._references: list[Any] = []
        self._implied: list[str] = []
        self._written: set[str] = set()  # module variables that functions assign

    def run(self) -> Captured:
        root = self._root
        self._code(Found(self._cell, item) for item in self._cell.binding(root.attribute))
        while self._todo:
            part = self._todo.pop(0)
            for use in part.uses:
                self._resolve(use, part)
        own = self._parts[root.attribute]
        parts = ordered([*(part for part in dict.fromkeys(self._parts.values()) if part is not own), own])
        version = version_of(root.kind, root.name, self._imports, parts)
        deferred = any(part.text is not None and part.text.deferred for part in parts)
        tail = ""
        if root.style == "plain":
            tail = f"{root.attribute} = _perdure.define_{root.kind}({root.attribute}, {root.name!r})"
        suffix = "__workflow" if root.kind == "workflow" and root.style != "temporal" else ""
        return Captured(
            kind=root.kind,
            name=root.name,
            attribute=root.attribute + suffix,
            version=version,
            source=assemble(root.kind, root.name, self._imports, parts, tail, deferred=deferred),
            parts=tuple(parts),
            meaning=self._imports.meaning,
            constants=self._constants,
            looked_up=self._looked_up,
            warnings=tuple(self._warnings),
            references=tuple(self._references),
            implied=tuple(self._implied),
        )

    # --- from a name to what it stands for

    def _resolve(self, use: Use, part: Part) -> None:
        name = use.name
        if use.imported or name in self._parts:
            return
        namespace = self._notebook.namespace
        if name in self._imports.meaning:
            if isinstance(namespace.get(name), types.ModuleType):
                self._imports.module(name, namespace[name], use.attributes)
            return
        try:
            if self._from_cell(name):
                return
            if name in namespace and not replaces_builtin(name, namespace[name]):
                self._looked_up[name] = namespace[name]
                self._from_namespace(name, namespace[name], use)
            elif name in _PROVIDED:
                return
            elif name in IMPLIED:
                self._imports.bind(name, IMPLIED[name], "")
                self._implied.append(name)
            elif name in _OF_IPYTHON:
                self._imports.bind(name, *_OF_IPYTHON[name])
            elif not use.tolerant and name not in self._written:
                importing = f", or write `import {name}`" if name in sys.stdlib_module_names else ""
                remedy = f"Run the cell that defines {name} first{importing}."
                raise NotDurable("not defined in the notebook", remedy)
        except NotDurable as refusal:
            if not use.tolerant:
                raise self._refused(name, use, part, refusal) from None

    def _refused(self, name: str, use: Use, part: Part, refusal: NotDurable) -> DefinitionError:
        owner = f"{self._root.kind} {self._root.name}"
        text = part.text or self._cell
        via = "" if self._root.attribute in part.names else f" (in {part.names[0]})"
        return DefinitionError(
            f"{owner} uses {name}, which is {refusal.what}{via}.\n    {text.quote(use.line)}", refusal.remedy
        )

    def _from_cell(self, name: str) -> bool:
        statements = self._cell.binding(name)
        other = self._others.get(name)
        if not statements:
            return False
        if other is not None and (other.kind == "workflow" or self._root.kind == "workflow"):
            if self._executed and kind_of(self._notebook.namespace.get(name)):
                self._references.append(self._notebook.namespace[name])
            self._elsewhere(
                name, other.name, "{}", Found(self._cell, statements[-1]), style=other.style, kind=other.kind
            )
            return True
        if all(isinstance(item, ast.Import | ast.ImportFrom) for item in statements):
            for item in statements:
                self._imports.repeat(name, item)
            return True
        if self._executed and not any(isinstance(item, _DEFINITIONS) for item in statements):
            if name in self._notebook.namespace:
                return False
            if not all(is_literal(item) for item in statements):
                raise NotDurable(
                    "assigned further down in the cell", "Move the assignment above the function."
                )
        self._code(Found(self._cell, item) for item in statements)
        return True

    def _from_namespace(self, name: str, value: Any, use: Use) -> None:
        if kind_of(value):
            self._references.append(value)
        if isinstance(value, types.ModuleType):
            self._imports.module(name, value, use.attributes)
        elif (place := self._imported(name, value)) is not None:
            self._imports.bind(name, *place)
        elif isinstance(value, Activity | Workflow) or kind_of(value):
            self._defined_in_notebook(name, value)
        elif isinstance(value, type) or inspect.isroutine(value) or hasattr(value, "__wrapped__"):
            self._definition(name, value)
        elif type(value).__module__ in ("typing", "typing_extensions"):
            self._statement(name, value)
        else:
            self._constant(name, value)

    def _imported(self, name: str, value: Any) -> tuple[str, str] | None:
        """(module, attribute) of an import that gives the very object: the notebook's own, or where it is defined."""
        for module, attribute in self._notebook.imported(name):
            found = sys.modules.get(f"{module}.{attribute}" if attribute else module)
            if found is value or (
                attribute and getattr(sys.modules.get(module), attribute, MISSING) is value
            ):
                return module, attribute
        place = importable(value)
        return place if place is not None and "." not in place[1] and place[0] != "builtins" else None

    # --- what the notebook defines

    def _code(self, found: Iterable[Found]) -> None:
        for item in found:
            own = tuple(dict.fromkeys(name for name, _ in names.bound([item.statement])))
            looked_up = names.uses([item.statement], deferred_annotations=item.text.deferred)
            self._written.update(name for name, _ in looked_up.global_writes)
            self._add(
                Part(
                    role="code",
                    names=own,
                    source=item.text.segment(item.statement),
                    normal=normalised([item.statement]),
                    statements=[item.statement],
                    uses=looked_up.uses,
                    text=item.text,
                )
            )

    def _add(self, part: Part) -> None:
        for name in part.names:
            known = self._parts.get(name)
            if known is None:
                self._parts[name] = part
            elif known is not part and known.role == "code" and part.role == "code":
                known.join(part)
                part = known
        if part not in self._todo:
            self._todo.append(part)

    def _definition(self, name: str, value: Any) -> None:
        place = importable(value)
        if place is not None:
            return self._add_constant(name, self._reference_to(place), value)
        found = self._notebook.definition(value)
        if found is None or name not in {own for own, _ in names.bound([found.statement])}:
            latest = self._notebook.assignment(name)
            if latest is not None and isinstance(latest.statement, _DEFINITIONS):
                found = latest
        if found is None:
            return self._statement(name, value)
        own = [bound for bound, _ in names.bound([found.statement])]
        if name in own:
            self._code([found])
            return self._dispatched(value)
        if isinstance(found.statement, _DEFINITIONS) and own and self._same(own[0], value):
            self._resolve_name(own[0])
            return self._add_constant(name, own[0], value)
        raise no_source(value)

    def _dispatched(self, value: Any) -> None:
        """The implementations that `@value.register` added to a `functools.singledispatch` function."""
        implementations = getattr(value, "registry", None) if hasattr(value, "dispatch") else None
        for function in (implementations or {}).values():
            found = self._notebook.definition(function)
            if found is not None and inspect.unwrap(value).__code__ is not function.__code__:
                self._code([found])

    def _same(self, name: str, value: Any) -> bool:
        return self._notebook.namespace.get(name) is value

    def _statement(self, name: str, value: Any) -> None:
        """A type alias, a TypeVar, a functional Enum or namedtuple: the assignment that made it."""
        found = self._notebook.assignment(name)
        if found is None or (
            not isinstance(value, type) and type(value).__module__ not in ("typing", "typing_extensions")
        ):
            raise no_source(value)
        self._code([found])

    def _resolve_name(self, name: str) -> None:
        if name in self._parts or name in self._imports.meaning:
            return
        if not self._from_cell(name):
            value = self._notebook.namespace[name]
            self._looked_up[name] = value
            self._from_namespace(name, value, Use(name, ast.Name(name, ast.Load()), True, False))

    def _defined_in_notebook(self, name: str, value: Any) -> None:
        """An activity or workflow of the notebook."""
        written = value.function if isinstance(value, Activity | Workflow) else value
        found = self._notebook.definition(written)
        if found is None:
            raise NotDurable("defined in a cell whose source is not known", "Run its cell again.")
        is_workflow = isinstance(value, Workflow | type)
        if not is_workflow and self._root.kind == "activity":
            return self._code([found])  # a plain call: it depends on the body
        options = (
            replace(value.declared, name=None).to_json() if isinstance(value, Activity | Workflow) else "{}"
        )
        style: Literal["perdure", "temporal"] = (
            "perdure" if isinstance(value, Activity | Workflow) else "temporal"
        )
        temporal = value.name if isinstance(value, Activity | Workflow) else temporal_name(value)
        self._elsewhere(
            name, temporal, options, found, style=style, kind="workflow" if is_workflow else "activity"
        )
        return None

    def _elsewhere(
        self, name: str, temporal: str, options: str, found: Found, *, style: str, kind: str
    ) -> None:
        statement = found.statement
        if isinstance(statement, ast.ClassDef):
            signature: ast.stmt = class_signature(statement)
            decorator = plain = ""
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            signature = function_signature(statement, name)
            decorator, plain = activity_signature(kind, style, temporal, options)
        else:
            raise NotDurable(f"a {kind} that is not written with def", "Write it with def.")
        text = ast.unparse(signature)
        self._add(
            Part(
                role="elsewhere",
                names=(name,),
                source=decorator + text,
                normal=plain + text,
                statements=[signature],
                uses=names.uses([signature], deferred_annotations=found.text.deferred).uses,
                text=found.text,
            )
        )

    # --- constants

    def _constant(self, name: str, value: Any) -> None:
        self._constants[name] = value
        try:
            self._add_constant(name, express(value, self), value)
        except NotDurable:
            found = self._notebook.assignment(
                name
            )  # a table of functions, say: its text is as good as its value
            if found is None or not is_display(found.statement):
                raise
            self._code([found])
        if isinstance(value, str) and _SECRET.search(name):
            self._warnings.append(
                f"The value of {name} becomes part of the definition, and is kept in the history file as text;"
                " read it from os.environ in an activity if it is a secret."
            )

    def _add_constant(self, name: str, expression: str, value: Any) -> None:
        source = f"{name} = {expression}"
        statement = ast.parse(source).body
        self._add(Part("value", (name,), source, source, statement, names.uses(statement).uses))

    def module(self, name: str) -> str:
        """`values.Writer`: a standard module for an expression."""
        alias = "_" + name.replace(".", "_")
        self._imports.add(f"import {name} as {alias}", alias, name, standard=modules.is_standard(name))
        return alias

    def reference(self, thing: Any) -> str:
        """`values.Writer`: a class or function in an expression."""
        place = importable(thing)
        if place is not None:
            return self._reference_to(place)
        own = getattr(thing, "__name__", "")
        if own in self._notebook.namespace and self._notebook.namespace[own] is not thing:
            raise NotDurable(
                f"made with an earlier definition of {own}",
                "Run the cell that makes it again, after that one.",
            )
        if own not in self._notebook.namespace:
            raise no_source(thing)
        self._resolve_name(own)
        return str(own)

    def _reference_to(self, place: tuple[str, str]) -> str:
        module, attribute = place
        return attribute if module == "builtins" else f"{self.module(module)}.{attribute}"
