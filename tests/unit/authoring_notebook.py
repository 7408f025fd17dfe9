"""A notebook without IPython: cells are executed in one namespace that keeps their texts, as IPython's does."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest

from perdure.authoring import cells
from perdure.authoring.cells import Defined, define_cell
from perdure.authoring.registry import registry


class Book:
    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "In": [""]}

    def run(self, source: str) -> None:
        """Executes an ordinary cell."""
        text = dedent(source)
        self.names["In"].append(text)
        file = f"<cell {id(self)} {len(self.names['In'])}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec", dont_inherit=True), self.names)

    def define(self, kind: str, source: str, **options: Any) -> Defined:
        """Defines a `%%activity` or `%%workflow` cell."""
        text = dedent(source)
        self.names["In"].append(f"get_ipython().run_cell_magic({kind!r}, '', {text!r})\n")
        return define_cell(kind, text, self.names, options, first_line=2)

    def activity(self, source: str, **options: Any) -> Defined:
        return self.define("activity", source, **options)

    def workflow(self, source: str, **options: Any) -> Defined:
        return self.define("workflow", source, **options)


def call(defined: Defined, *args: Any) -> Any:
    """Calls the one activity of a cell as a worker does: the captured one."""
    (registered,) = defined.registered
    target: Any = registered.target
    return target(*args)


def source(defined: Defined) -> str:
    return defined.registered[0].definition.source


@pytest.fixture
def book() -> Iterator[Book]:
    """An empty notebook. What it defines is forgotten afterwards."""
    before = dict(registry._all), dict(registry._current), dict(cells._kept)
    yield Book()
    registry._all, registry._current = dict(before[0]), dict(before[1])
    cells._kept.clear()
    cells._kept.update(before[2])
