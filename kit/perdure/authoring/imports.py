"""The import lines of a captured definition: repeated from the notebook, or made for what an imported name stands for."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from perdure.authoring import modules
from perdure.authoring.values import NotDurable, explain


@dataclass(slots=True)
class Imports:
    """The import lines of a module, and what each imported name stands for."""

    standard: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    meaning: dict[str, str] = field(default_factory=dict)

    def add(self, line: str, name: str, meaning: str, *, standard: bool) -> None:
        (self.standard if standard else self.others).add(line)
        self.meaning[name] = meaning

    def bind(self, name: str, module: str, attribute: str) -> None:
        """Imports `attribute` of `module`, or the module itself when it is "", as `name`."""
        if not attribute:
            parent, _, last = module.rpartition(".")
            line = f"import {module}" + (f" as {name}" if name != module else "")
            if parent and last == name:
                line = f"from {parent} import {name}"
        else:
            line = f"from {module} import {attribute}" + (f" as {name}" if name != attribute else "")
        meaning = f"{module}.{attribute}" if attribute else module
        self.add(line, name, meaning, standard=modules.is_standard(module))

    def module(self, name: str, module: types.ModuleType, attributes: Iterable[str]) -> None:
        """Imports a module as `name`, with those of its submodules that `attributes` go through."""
        own = module.__name__
        if own == "__main__" or getattr(module, "__spec__", None) is None:
            raise NotDurable(*explain(module))
        if own != name:
            self.bind(name, own, "")
        else:
            self.add(f"import {own}", name, own, standard=modules.is_standard(own))
        inner: Any = module
        for attribute in attributes:  # `import xml` alone does not make xml.etree known
            inner = getattr(inner, attribute, None)
            own = f"{own}.{attribute}"
            if not isinstance(inner, types.ModuleType) or sys.modules.get(own) is not inner:
                break
            self.add(f"import {own}", name, module.__name__, standard=modules.is_standard(own))

    def repeat(self, name: str, statement: ast.stmt) -> None:
        """Imports `name` as a statement of the notebook does."""
        for alias in statement.names if isinstance(statement, ast.Import | ast.ImportFrom) else ():
            if isinstance(statement, ast.ImportFrom):
                if statement.level:
                    raise NotDurable("imported relatively", "Import it by the full name of its package.")
                if (alias.asname or alias.name) == name and statement.module != "__future__":
                    self.bind(name, statement.module or "", alias.name)
            elif alias.asname == name:
                self.bind(name, alias.name, "")
            elif not alias.asname and alias.name.partition(".")[0] == name:
                self.add(f"import {alias.name}", name, name, standard=modules.is_standard(name))
