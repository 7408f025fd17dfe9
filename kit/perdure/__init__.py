"""perdure: durable workflows for notebooks.

    %load_ext perdure          in a notebook: %%activity, %%workflow, %workflow
    @perdure.activity          in a module: a function becomes a step that is recorded and retried
    @perdure.workflow          an async function that awaits activities becomes a durable workflow
    perdure.start(...)         starts a run; the handle is awaitable, and draws itself
    perdure.runs(), .sql(...)  what ran, as DataFrames
    perdure.connect(...)       the same on any Temporal cluster; perdure.disconnect() goes back to the file

Importing this package is instant: each name below is loaded when it is first used.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from perdure.errors import (
    CallError,
    ConnectError,
    DamagedFileError,
    DefinitionError,
    FileInUseError,
    FileNotWritableError,
    NewerFileError,
    PerdureError,
    QueryError,
    RunError,
    StoreError,
)

if "grpc" not in sys.modules:
    # gRPC reads this when it is imported. Its own handling of forks makes forks of a process with a server, such
    # as multiprocessing makes them, crash. See frontend/forks.py.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

if TYPE_CHECKING:
    from perdure.authoring.activity import activity as activity
    from perdure.authoring.workflow import workflow as workflow
    from perdure.connecting import connect as connect
    from perdure.connecting import disconnect as disconnect
    from perdure.run_handle import Run as Run
    from perdure.runs import move as move
    from perdure.runs import run as run
    from perdure.runs import runs as runs
    from perdure.runs import sql as sql
    from perdure.runs import start as start
    from perdure.session import Session as Session
    from perdure.session import session as session

__all__ = [
    "CallError",
    "ConnectError",
    "DamagedFileError",
    "DefinitionError",
    "FileInUseError",
    "FileNotWritableError",
    "NewerFileError",
    "PerdureError",
    "QueryError",
    "Run",
    "RunError",
    "Session",
    "StoreError",
    "activity",
    "connect",
    "disconnect",
    "load_ipython_extension",
    "move",
    "run",
    "runs",
    "session",
    "sql",
    "start",
    "unload_ipython_extension",
    "workflow",
]

_HOMES = {
    "Run": "perdure.run_handle",
    "Session": "perdure.session",
    "activity": "perdure.authoring.activity",
    "connect": "perdure.connecting",
    "disconnect": "perdure.connecting",
    "move": "perdure.runs",
    "run": "perdure.runs",
    "runs": "perdure.runs",
    "session": "perdure.session",
    "sql": "perdure.runs",
    "start": "perdure.runs",
    "workflow": "perdure.authoring.workflow",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("perdure")
    if name not in _HOMES:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    return _bind(name)


def _bind(name: str) -> Any:
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


class _Package(ModuleType):
    """Keeps `perdure.session` and `perdure.runs` the functions that are documented: Python would put the
    modules of the same names, once they are imported, in their place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext perdure`."""
    from perdure_jupyter import load_ipython_extension as load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext perdure`."""
    from perdure_jupyter import unload_ipython_extension as unload

    unload(shell)
