"""Imports point one way, the pure core stays pure, and `import perdure` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "kit" / "perdure"
EXTENSION = KIT.parents[1] / "extension" / "perdure_jupyter"

# What a part of perdure may import from the others. Parts of one layer may use each other where the line says so.
MAY_IMPORT = {
    "engine": set(),
    "store": {"engine"},
    "authoring": {"engine", "runs"},  # `runs` for type checkers, and where Workflow.start is called
    "history": {"engine"},
    "view": {"engine", "history"},
    "frontend": {"engine", "store"},
    "worker": {"engine", "authoring", "frontend"},
    "replay": {"engine", "history", "authoring", "worker"},
    "headless": None,
    "session": None,
    "connecting": None,
    "starting": None,
    "runs": None,
    "run_errors": None,
    "troubles": None,
    "rewinding": None,
    "listing": None,
    "searching": None,
    "cli": None,
    "testing": None,
}
PURE = (
    "state",
    "fold",
    "turn",
    "retries",
    "starting",
    "closing",
    "activities",
    "workflow_tasks",
    "commands",
    "completion",
    "time_skipping",
    "virtual_time",
)
IMPURE = {"asyncio", "duckdb", "threading", "socket", "grpc", "IPython", "time"}


def imports(file: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "perdure")


def part_of(module: str) -> str:
    return module.removeprefix("perdure.").split(".")[0]


def files_of(part: str) -> list[Path]:
    return sorted((KIT / part).rglob("*.py")) or [KIT / f"{part}.py"]


def test_every_part_has_its_line() -> None:
    found = {path.stem for path in KIT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__", "errors"} <= set(MAY_IMPORT)


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    allowed = MAY_IMPORT[part]
    for file in files_of(part):
        used = {part_of(name) for name in imports(file) if name.startswith("perdure.")}
        if allowed is not None:
            assert used - allowed - {part, "errors"} == set(), file
        assert not [name for name in imports(file) if name.startswith("perdure_jupyter")], file


@pytest.mark.parametrize("module", PURE)
def test_decisions_know_no_clock_no_loop_and_no_database(module: str) -> None:
    used = {name.split(".")[0] for name in imports(KIT / "engine" / f"{module}.py")}
    assert not used & IMPURE


def test_only_the_package_itself_forwards_to_jupyter() -> None:
    used = [
        file
        for file in KIT.rglob("*.py")
        if any(name.startswith("perdure_jupyter") for name in imports(file))
    ]
    assert used == [KIT / "__init__.py"]


def test_importing_perdure_loads_nothing_heavy() -> None:
    program = (
        "import sys, perdure\n"
        "heavy = {'temporalio', 'pandas', 'duckdb', 'grpc', 'IPython', 'google.protobuf', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
