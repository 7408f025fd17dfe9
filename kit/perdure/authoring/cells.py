"""What the magics call: a cell's text becomes registered definitions and objects in the notebook's namespace.

First everything is captured, checked and loaded as modules; only then is the cell executed in
the namespace, so that a refused cell leaves nothing behind. The functions in the namespace are the notebook's own: called
outside a workflow they use its present variables, like those of any cell.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from temporalio.workflow import _Definition as _WorkflowDefinition

from perdure.authoring import modules, names, sandbox
from perdure.authoring.activity import Activity, make_activity
from perdure.authoring.capture import IMPLIED, capture
from perdure.authoring.declaring import kind_of, register_if_new, temporal_name
from perdure.authoring.hazards import Hazard, find_hazards
from perdure.authoring.notebook import Notebook, Text
from perdure.authoring.options import ActivityOptions, WorkflowOptions
from perdure.authoring.parts import Captured
from perdure.authoring.registry import Registered, registry, target_of
from perdure.authoring.roots import Root, check_statements, decorated, roots_of
from perdure.authoring.workflow import Workflow, make_workflow
from perdure.engine.records import Definition
from perdure.errors import DefinitionError

_executing: contextvars.ContextVar[bool] = contextvars.ContextVar("executing a magic's cell", default=False)


@dataclass(frozen=True)
class Defined:
    """What a cell defined.

    Attributes:
        registered: the definitions, current from now on.
        objects: what the cell bound in the namespace: Activity and Workflow objects, helpers, imports.
        warnings: what its author should know, each a complete message.
        changed: the definitions that are new: the same text again gives none.
    """

    registered: tuple[Registered, ...]
    objects: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    changed: tuple[Registered, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    """How a definition came about, to capture it again when what it uses has changed."""

    root: Root
    cell: Text
    others: tuple[Root, ...]
    namespace: Mapping[str, Any]
    options: str
    origin: str
    executed: bool
    looked_up: Mapping[str, Any] = field(repr=False)


_kept: dict[tuple[str, str], _Kept] = {}


def define_cell(
    kind: str,
    source: str,
    namespace: MutableMapping[str, Any],
    options: Mapping[str, Any] | None = None,
    origin: str = "",
    *,
    first_line: int = 1,
    label: str = "the cell",
) -> Defined:
    """Defines what a `%%activity` or `%%workflow` cell holds.

    Args:
        kind: "activity" or "workflow".
        source: the cell's text, without the magic's line.
        namespace: the notebook's namespace; the cell's names are bound in it.
        options: the magic's options by name; values may be texts. They apply to every definition that has no decorator.
        origin: what tells people where it came from: "In [4]", a file's path.
        first_line: the number of the text's first line in the cell: 2 under a magic.

    Raises:
        DefinitionError: the cell cannot be made durable; nothing was defined or executed.
        SyntaxError: the cell is no Python.
        Exception: what the cell itself raised when it was executed.
    """
    file = f"<perdure cell {hashlib.sha256(source.encode()).hexdigest()[:8]}>"
    compile(source, file, "exec", dont_inherit=True)
    cell = Text(source, label, first_line)
    roots = roots_of(kind, cell, namespace, dict(options or {}))
    parsed = _parse_options(kind, options or {})
    check_statements(kind, cell)

    prepared = [_prepare(root, cell, roots, namespace, parsed, origin) for root in roots]
    for name in (name for item in prepared for name in item.implied):
        namespace.setdefault(name, importlib.import_module(IMPLIED[name]))
    objects = _execute(cell, file, namespace)
    for root, item in zip(roots, prepared, strict=True):
        objects[root.attribute] = _bindable(root, objects[root.attribute], parsed, item.registered)
    namespace.update(objects)
    return _finish(prepared, objects)


def define_decorated(
    kind: str, thing: Any, written: Any, options: ActivityOptions | WorkflowOptions
) -> Defined | None:
    """Defines a function or class that a decorator in an ordinary cell made an activity or workflow."""
    if _executing.get():
        return None  # a magic's cell, which has been captured already
    namespace = getattr(written, "__globals__", None) or _main_namespace()
    found = Notebook(namespace).definition(written)
    if found is None:
        raise DefinitionError(
            f"{kind} {written.__name__} cannot be captured: its source is not known.",
            "Define it in a cell of its own, or in a .py file.",
        )
    style: Literal["perdure", "temporal"] = "temporal" if isinstance(written, type) else "perdure"
    roots = [
        item if item.attribute != written.__name__ else Root(kind, style, item.attribute, _type_name(thing))
        for item in decorated(found.text, namespace)
    ]
    root = next((item for item in roots if item.attribute == written.__name__), None)
    if root is None:
        root = Root(kind, style, written.__name__, _type_name(thing))
    prepared = _prepare(root, found.text, roots, namespace, options, found.text.label, executed=True)
    return _finish([prepared], {})


def recapture(namespace: Mapping[str, Any]) -> Defined:
    """Captures again what cells of `namespace` defined, where something that it uses has changed since.

    A helper's cell was run again, and the activities that use it take the new one at their next attempt. A definition
    that cannot be captured any more stays as it is, and a warning says why. To be called after each cell.
    """
    prepared: list[_Prepared] = []
    warnings: list[str] = []
    for key, kept in list(_kept.items()):
        if kept.namespace is not namespace or not _moved(kept):
            continue
        try:
            prepared.append(
                _prepare(
                    kept.root, kept.cell, list(kept.others), namespace,
                    _parse_options(kept.root.kind, {}), kept.origin, executed=kept.executed, options_json=kept.options,
                )
            )  # fmt: skip
        except DefinitionError as error:
            warnings.append(f"{kept.root.kind} {kept.root.name} stays as it was defined: {error}")
            _kept[key] = _with_present(kept)
    defined = _finish(prepared, {}, only_changed=True)
    return Defined(defined.registered, {}, (*warnings, *defined.warnings), defined.changed)


def _type_name(thing: Any) -> str:
    return str(thing.name) if isinstance(thing, Activity | Workflow) else temporal_name(thing)


# --- from a root to a registered definition


@dataclass(frozen=True, slots=True)
class _Prepared:
    registered: Registered
    warnings: tuple[str, ...]
    kept: _Kept
    references: tuple[Any, ...]
    implied: tuple[str, ...]


def _prepare(
    root: Root,
    cell: Text,
    roots: list[Root],
    namespace: Mapping[str, Any],
    options: ActivityOptions | WorkflowOptions,
    origin: str,
    *,
    executed: bool = False,
    options_json: str = "",
) -> _Prepared:
    captured = capture(root, cell, namespace, roots, executed=executed)
    warnings = list(captured.warnings)
    if root.kind == "workflow":
        warnings += _check_hazards(captured, roots)
    target, declared = _load(captured, root)
    root = replace(root, name=temporal_name(target))  # a decorator's name need not be a literal
    if declared is not None:
        options_json = options_json or declared.declared.to_json()
    elif root.style == "plain":
        options_json = options_json or options.to_json()
    definition = Definition(
        kind=root.kind,
        name=root.name,
        version=captured.version
        if root.kind == "workflow"
        else _with_options(captured.version, options_json),
        module=captured.module,
        attribute=captured.attribute,
        source=modules.registered_source(captured.module) or captured.source,
        origin=origin,
        options=options_json or "{}",
        defined_time=time.time_ns(),
    )
    kept = _Kept(root, cell, tuple(roots), namespace, options_json, origin, executed, captured.looked_up)
    references = (*captured.references, *_imported(captured))
    return _Prepared(Registered(definition, target), tuple(warnings), kept, references, captured.implied)


def _load(captured: Captured, root: Root) -> tuple[Any, Activity[..., Any] | Workflow[..., Any] | None]:
    """Imports the module; for a workflow once in the sandbox, too, as a worker will."""
    if modules.registered_source(captured.module) is None:  # the same version has the same behaviour
        modules.register(captured.module, captured.source)
    try:
        module = importlib.import_module(captured.module)
        thing = getattr(module, root.attribute)
        target = target_of(getattr(module, captured.attribute))
        if root.kind == "workflow":
            _validate(target)
    except DefinitionError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        remedy = "It and what it uses were executed as a module of their own, as other processes will; that failed."
        if isinstance(cause, ModuleNotFoundError):
            remedy = f"Install it in this environment: %pip install {cause.name}"
        raise DefinitionError(
            f"{root.kind} {root.name} cannot be loaded: {type(cause).__name__}: {cause}", remedy
        ) from error
    return target, thing if isinstance(thing, Activity | Workflow) and root.style == "perdure" else None


def _imported(captured: Captured) -> Iterator[Any]:
    """The definitions with Temporal's own decorators that the module imports: `from shop import pack`, `shop.pack`."""
    module = sys.modules[captured.module]
    for use in (use for part in captured.parts for use in part.uses if use.name in captured.meaning):
        thing = getattr(module, use.name, None)
        for attribute in ("", *use.attributes):
            thing = getattr(thing, attribute, None) if attribute else thing
            if kind_of(thing):
                yield thing


def _validate(target: Any) -> None:
    """Creates an instance in the sandbox, as a worker does first. That needs a loop of its own: it marks the running one."""
    definition = _WorkflowDefinition.must_from_class(target)
    if definition.sandboxed:
        sandboxed = sandbox.runner()

        async def prepare() -> None:
            sandboxed.prepare_workflow(definition)

        with ThreadPoolExecutor(1, "perdure-validate") as thread:
            thread.submit(asyncio.run, prepare()).result()


def _check_hazards(captured: Captured, roots: list[Root]) -> list[str]:
    """The warnings. Raises DefinitionError if there are errors."""
    found = find_hazards(captured, [root.attribute for root in roots if root.kind == "activity"])
    errors = [hazard for hazard in found if hazard.level == "error"]
    if errors:
        raise DefinitionError(
            f"workflow {captured.name} would not take the same way at replay.\n"
            + "\n".join(map(_indented, errors)),
            "If a line is right as it is, end it with the comment `# perdure: allow`.",
        )
    return [str(hazard) for hazard in found]


def _indented(hazard: Hazard) -> str:
    return "\n".join("  " + line for line in str(hazard).splitlines())


def _with_options(version: str, options: str) -> str:
    """An activity's options are part of its version: nothing is pinned to it, and new ones should reach the file."""
    if options in ("", "{}"):
        return version
    return hashlib.sha256(f"{version} {options}".encode()).hexdigest()[:12]


def _parse_options(kind: str, options: Mapping[str, Any]) -> ActivityOptions | WorkflowOptions:
    return (ActivityOptions if kind == "activity" else WorkflowOptions).parse(options)


# --- the notebook's own objects


def _execute(cell: Text, file: str, namespace: MutableMapping[str, Any]) -> dict[str, Any]:
    """Executes the cell in the namespace, as an ordinary one. Returns what it bound."""
    padded = "\n" * (cell.first_line - 1) + cell.source
    modules.show_source(file, padded)
    code = compile(padded, file, "exec", dont_inherit=True)
    token = _executing.set(True)
    try:
        exec(code, cast("dict[str, Any]", namespace))
    finally:
        _executing.reset(token)
    return {name: namespace[name] for name, _ in names.bound(cell.tree.body) if name in namespace}


def _bindable(
    root: Root, thing: Any, options: ActivityOptions | WorkflowOptions, registered: Registered
) -> Any:
    """What the notebook gets under the definition's name: an Activity or Workflow; Temporal's own kind as it is.

    A workflow class is the one that workers run, so that starting it finds its definition.
    """
    if root.style != "plain":
        return registered.target if isinstance(thing, type) else thing
    named = options.override({"name": root.name})
    make: Callable[..., Any] = make_activity if isinstance(options, ActivityOptions) else make_workflow
    return make(thing, named)


def _finish(prepared: list[_Prepared], objects: Mapping[str, Any], *, only_changed: bool = False) -> Defined:
    changed = []
    for item in prepared:
        definition = item.registered.definition
        current = registry.current(definition.kind, definition.name)
        is_new = current is None or current.definition.version != definition.version
        if is_new:
            changed.append(item.registered)
        if is_new or (not only_changed and current and current.definition.options != definition.options):
            registry.add(item.registered)
        _kept[definition.kind, definition.name] = item.kept
        for reference in item.references:
            register_if_new(reference)
    warnings = dict.fromkeys(
        warning
        for item in prepared
        if not only_changed or item.registered in changed
        for warning in item.warnings
    )
    return Defined(tuple(item.registered for item in prepared), objects, tuple(warnings), tuple(changed))


def _moved(kept: _Kept) -> bool:
    """Whether the namespace has something else under a name that was captured, or something that can change in place."""
    return any(
        kept.namespace.get(name) is not value or isinstance(value, dict | list | set | bytearray)
        for name, value in kept.looked_up.items()
    )


def _with_present(kept: _Kept) -> _Kept:
    present = {name: kept.namespace.get(name) for name in kept.looked_up}
    return replace(kept, looked_up=present)


def _main_namespace() -> dict[str, Any]:
    return vars(sys.modules["__main__"])
