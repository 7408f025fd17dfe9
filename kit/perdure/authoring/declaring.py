"""Where a decorated function is registered: it depends on where it was written.

* In a module that can be imported: under its module's name, without a version; its source stays in its file.
* In a notebook's cell: captured with what it uses from the notebook, like a cell that begins with
  `%%activity`.
* In a script that is run: under the name by which its file can be imported.
* In the source of a cell's module, or inside the SDK's sandbox, which imports modules again and again: not
  at all.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import temporalio.activity
import temporalio.workflow

from perdure.authoring import modules
from perdure.authoring.options import ActivityOptions, WorkflowOptions
from perdure.authoring.registry import Registered, registry, target_of
from perdure.engine.records import Definition


def declare(
    kind: str, thing: Any, written: Callable[..., Any], options: ActivityOptions | WorkflowOptions
) -> None:
    """Registers what a decorator made of `written`, a function or class, according to where it was written."""
    if temporalio.workflow.unsafe.in_sandbox() or modules.is_cell_module(written.__module__):
        return
    if _in_notebook(written):
        from perdure.authoring.cells import define_decorated

        define_decorated(kind, thing, written, options)
    else:
        registry.add(_of_module(kind, thing, written, options))


def registered(target: Any) -> Registered:
    """The definition of a `@workflow.defn` class or an `@activity.defn` function that nothing has registered yet.

    One in a notebook's cell is captured and becomes current. Of one in a module the rest of its module is registered as well: a
    worker that runs the workflow will be asked for the activities, too.

    Raises:
        DefinitionError: it was written in a notebook and cannot be captured.
    """
    kind = "workflow" if isinstance(target, type) else "activity"
    options = WorkflowOptions() if kind == "workflow" else ActivityOptions()
    if _in_notebook(target):
        from perdure.authoring.cells import define_decorated

        defined = define_decorated(kind, target, target, options)
        if defined is not None:
            return defined.registered[0]
    for other in list(vars(sys.modules[target.__module__]).values()):
        if other is not target:
            register_if_new(other)
    return _of_module(kind, target, target, options)


def register_if_new(thing: Any) -> None:
    """Makes a definition written with Temporal's own decorators known, if no definition has its name yet."""
    kind = kind_of(thing)
    if not kind or temporalio.workflow.unsafe.in_sandbox() or registry.current(kind, temporal_name(thing)):
        return
    if _in_notebook(thing):
        registered(thing)
    elif not modules.is_cell_module(thing.__module__):
        options = WorkflowOptions() if kind == "workflow" else ActivityOptions()
        registry.add(_of_module(kind, thing, thing, options))


def kind_of(thing: Any) -> str:
    """ "workflow" or "activity" for a definition with Temporal's own decorators, "" for anything else."""
    if isinstance(thing, type):
        return "workflow" if temporalio.workflow._Definition.from_class(thing) else ""
    if inspect.isroutine(thing) and temporalio.activity._Definition.from_callable(thing):
        return "activity"
    return ""


def _of_module(
    kind: str, thing: Any, written: Callable[..., Any], options: ActivityOptions | WorkflowOptions
) -> Registered:
    target = target_of(thing)
    definition = Definition(
        kind=kind,
        name=temporal_name(target),
        version="",
        module=_importable_name(written.__module__),
        attribute=target.__name__ if isinstance(target, type) else written.__qualname__,
        source="",
        origin=inspect.getsourcefile(written) or "",
        options=options.to_json(),
    )
    return Registered(definition, target)


def _in_notebook(written: Callable[..., Any]) -> bool:
    """IPython keeps its list of inputs in the namespace of cells."""
    if written.__module__ != "__main__":
        return False
    namespace = getattr(written, "__globals__", None) or vars(sys.modules["__main__"])
    return isinstance(namespace.get("In"), list)


def temporal_name(target: Any) -> str:
    """Temporal's type name of a `@workflow.defn` class or an `@activity.defn` function."""
    found: Any = (
        temporalio.workflow._Definition.from_class(target)
        if isinstance(target, type)
        else temporalio.activity._Definition.from_callable(target)
    )
    return str(found.name or target.__name__)


def _importable_name(module: str) -> str:
    """The name by which other processes import `module`: a script's own file, if its folder is on the
    path.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if module != "__main__" or not file:
        return module
    stem = Path(file).stem
    spec = importlib.util.find_spec(stem) if stem.isidentifier() else None
    same = (
        spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()
    )
    return stem if same else module
