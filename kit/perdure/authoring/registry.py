"""The definitions that this process knows: each version of each workflow and activity, and which one is
current.

Cells, decorators and the history file feed it; workers read it and are told when something becomes
current. A definition is loaded from its source alone, so a process without the notebook can run what the
notebook defined.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from perdure.authoring import modules
from perdure.engine.records import Definition
from perdure.errors import DefinitionError


@dataclass(frozen=True)
class Registered:
    """A definition and what it defines: a `@workflow.defn` class or an `@activity.defn` function, ready
    for a Worker.
    """

    definition: Definition
    target: type | Callable[..., Any]


class Registry:
    """Thread-safe. Listeners are called on the thread that added, after the registry has changed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._all: dict[tuple[str, str, str], Registered] = {}
        self._current: dict[tuple[str, str], Registered] = {}
        self._listeners: list[Callable[[Registered], None]] = []

    def add(self, registered: Registered) -> None:
        """Makes a definition the current one of its kind and name, and tells the listeners."""
        definition = registered.definition
        with self._lock:
            self._all[definition.kind, definition.name, definition.version] = registered
            self._current[definition.kind, definition.name] = registered
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(registered)

    def load(self, definition: Definition) -> Registered:
        """Loads a definition from its source, or from its module when it has none. Does not make it current.

        Raises:
            DefinitionError: the source cannot be executed here, or the module is not installed.
        """
        key = definition.kind, definition.name, definition.version
        with self._lock:
            known = self._all.get(key)
            if known is not None and known.definition.module == definition.module:
                return known
        registered = Registered(definition, _target(definition))
        with self._lock:
            return self._all.setdefault(key, registered)

    def current(self, kind: str, name: str) -> Registered | None:
        with self._lock:
            return self._current.get((kind, name))

    def find(self, kind: str, name: str, version: str) -> Registered | None:
        with self._lock:
            return self._all.get((kind, name, version))

    def all(self) -> list[Registered]:
        """Every version of every definition, oldest first."""
        with self._lock:
            return list(self._all.values())

    def on_change(self, callback: Callable[[Registered], None]) -> Callable[[], None]:
        """Calls `callback` with each definition that becomes current. Returns the function that stops it."""
        with self._lock:
            self._listeners.append(callback)

        def unsubscribe() -> None:
            with self._lock, suppress(ValueError):
                self._listeners.remove(callback)

        return unsubscribe


def target_of(thing: Any) -> Any:
    """What a Worker takes for `thing`: an Activity's or Workflow's function or class, or the thing itself."""
    return getattr(thing, "target", thing)


def _target(definition: Definition) -> Any:
    what = f"{definition.kind} {definition.name}"
    if definition.source:
        modules.register(definition.module, definition.source)
    elif modules.is_cell_module(definition.module):
        raise DefinitionError(f"{what} has no source.", "Run the cell that defines it again.")
    try:
        module = importlib.import_module(definition.module)
    except Exception as error:
        remedy = (
            "Run the cell that defines it again."
            if definition.source
            else "Install it, or add its folder to PYTHONPATH."
        )
        if isinstance(error, ModuleNotFoundError) and error.name != definition.module:
            remedy = f"Install {error.name} for {_interpreter()}."
        raise DefinitionError(f"{what} cannot be loaded: {type(error).__name__}: {error}", remedy) from error
    try:
        return target_of(getattr(module, definition.attribute))
    except AttributeError:
        raise DefinitionError(
            f"{what} is not in module {definition.module}: it has no {definition.attribute!r}.",
            "Restore the function, or move the run to a version that exists.",
        ) from None


def _interpreter() -> str:
    return sys.executable or "this Python"


registry = Registry()
"""The process's own registry: what cells and decorators define, and what workers run."""
