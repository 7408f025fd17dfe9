"""Imports point one way, the pure core stays pure, and `import perdure` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

KIT = Path(__file__).parents[2] / "kit" / "perdure"
EXTENSION = KIT.parents[1] / "extension" / "perdure_jupyter"

# What a part of perdure may import from the others. Parts of one layer may use each other where the line says so.
MAY_IMPORT = {
    "engine": set(),
    "store": {"engine"},
    "authoring": {"engine", "runs", "run_handle"},  # for type checkers, and where Workflow.start is called
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
    "run_handle": None,
    "project_file": set(),
    "troubles": None,
    "rewinding": None,
    "listing": None,
    "searching": None,
    "cli": None,
    "testing": None,
}
# The engine's shell: what keeps something, waits, or asks what time it is. All else in the engine decides, and is pure.
SHELL = {
    "alarms",
    "attribute_registry",
    "batches",
    "clock",
    "definitions",
    "effects",
    "engine",
    "kept",
    "local_project",
    "matching",
    "namespace_registry",
    "offers",
    "processes",
    "registry",
    "routing",
    "runs",
    "schedules.scheduler",
    "service",
    "workers",
}
CONTRACTS = {"journal", "project"}  # what others implement for the shell; their values are for everybody
IMPURE = {
    "asyncio",
    "contextvars",
    "duckdb",
    "grpc",
    "IPython",
    "os",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
}
CALLED = {"now", "time_ns", "today", "utcnow", "uuid1", "uuid4", "uuid7"}  # they say something else each time


def engine_modules() -> set[str]:
    """Below the engine, without the handlers of its RPCs, which are shell."""
    files = (file.relative_to(KIT / "engine").with_suffix("") for file in files_of("engine"))
    return {".".join(file.parts) for file in files if file.parts[0] != "rpc"}


def tree_without_types(file: Path) -> ast.Module:
    """The file's tree without what only type checkers see."""
    return cast(ast.Module, _WithoutTypes().visit(ast.parse(file.read_text())))


class _WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


def imports(file: Path, tree: ast.Module | None = None) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(tree or ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            inner = node.module == "perdure" or node.module.startswith("perdure.engine")
            yield from (f"{node.module}.{alias.name}" for alias in node.names if inner)


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


def test_the_shell_is_what_is_named_here() -> None:
    assert engine_modules() >= SHELL | CONTRACTS


@pytest.mark.parametrize("module", sorted(engine_modules() - SHELL - CONTRACTS))
def test_decisions_know_no_clock_no_loop_no_database_and_no_shell(module: str) -> None:
    file = KIT / "engine" / f"{module.replace('.', '/')}.py"
    tree = tree_without_types(file)
    used = set(imports(file, tree))
    assert not {name.split(".")[0] for name in used} & IMPURE
    ours = {name.removeprefix("perdure.engine.") for name in used}
    assert not {name for name in ours if name in SHELL or name.split(".")[0] == "rpc"}
    assert "perdure.engine.engine" not in imports(file)  # not even for type checkers
    nodes = list(ast.walk(tree))
    assert not [node for node in nodes if isinstance(node, ast.AsyncFunctionDef)]
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not {call for call in calls if call.split(".")[-1] in CALLED}


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
