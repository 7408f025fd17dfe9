"""Modules that live in memory: `perdure_cells.<name>_<version>`.

A finder on `sys.meta_path` serves the sources that were registered here. Importing goes through Python's
own machinery, so the SDK's sandbox, which imports a workflow's module afresh for each run with its own
`sys.modules`, needs to know nothing of it. The source is also put into `linecache` under a file name such
as `<perdure payment 3f2a9c01d2e4>`: tracebacks, `inspect` and debuggers then show the lines, in this
process and in any other that registered the source.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import linecache
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

PACKAGE = "perdure_cells"

_lock = threading.RLock()
_sources: dict[str, str] = {}
_code: dict[str, CodeType] = {}


def register(module: str, source: str) -> None:
    """Makes `source` importable as `module`. The same text twice is one module; another text replaces the
    first.
    """
    with _lock:
        _install()
        if _sources.get(module) == source:
            return
        _sources[module] = source
        _code.pop(module, None)
        sys.modules.pop(module, None)
    show_source(file_name(module), source)


def registered_source(module: str) -> str | None:
    with _lock:
        return _sources.get(module)


def is_cell_module(module: str) -> bool:
    return module == PACKAGE or module.startswith(PACKAGE + ".")


def is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names or module.partition(".")[0] == "builtins"


def file_name(module: str) -> str:
    """What tracebacks show as the file: `<perdure payment 3f2a9c01d2e4>`."""
    name, _, version = module.removeprefix(PACKAGE + ".").rpartition("_")
    return f"<perdure {name} {version}>"


def show_source(file: str, source: str) -> None:
    """Lets tracebacks and `inspect` find lines of `file`, which is no file. An mtime of None keeps the
    entry for good.
    """
    lines = [line + "\n" for line in source.split("\n")]
    linecache.cache[file] = (len(source), None, lines, file)


class _Loader(importlib.abc.InspectLoader):
    def is_package(self, fullname: str) -> bool:
        return fullname == PACKAGE

    def get_source(self, fullname: str) -> str:
        source = "" if fullname == PACKAGE else registered_source(fullname)
        if source is None:
            raise ImportError(f"No definition is registered as {fullname}", name=fullname)
        return source

    def get_code(self, fullname: str) -> CodeType:
        with _lock:
            code = _code.get(fullname)
            if code is None:
                source = self.get_source(fullname)
                code = _code[fullname] = compile(source, file_name(fullname), "exec", dont_inherit=True)
            return code

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == PACKAGE:
            return ModuleSpec(fullname, _loader, origin="<perdure>", is_package=True)
        if registered_source(fullname) is None:
            return None
        spec = ModuleSpec(fullname, _loader, origin=file_name(fullname))
        spec.has_location = True  # gives the module its __file__, which inspect wants
        return spec


_loader = _Loader()
_finder = _Finder()


def _install() -> None:
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
