"""The public face: these names, always the documented things, whichever submodule was imported first."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import perdure

NAMES = {
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
}


def test_the_names_are_these() -> None:
    assert set(perdure.__all__) == NAMES
    for name in NAMES:
        assert getattr(perdure, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        perdure.nothing  # noqa: B018  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "first", ["perdure.session", "perdure.runs", "perdure.run_handle", "perdure.authoring.workflow"]
)
def test_submodules_do_not_take_the_functions_places(first: str) -> None:
    program = (
        f"from importlib import import_module; import_module({first!r})\n"
        "import perdure\n"
        "from perdure.session import Session\n"
        "from perdure.run_handle import Run\n"
        "print(all(type(getattr(perdure, name)).__name__ == 'function' for name in ('session', 'runs', 'workflow')))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "True"


def test_what_the_extension_draws_by_name_is_there() -> None:
    from perdure_jupyter.extension import RUN, TIMELINE

    for module, name in (RUN, TIMELINE):
        assert getattr(import_module(module), name).__module__ == module
