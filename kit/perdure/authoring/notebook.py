"""The source texts of a notebook: the cell at hand, earlier cells, and where a function or class of theirs is written.

IPython keeps what was run in the namespace's `In` list and in `linecache`; both are read here. A cell that was run through a magic
(`%%time`, `%%activity`) stands in `In` as a call of that magic, and its body is taken from there.
"""

from __future__ import annotations
import __future__ as future_flags

import ast
import functools
import inspect
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perdure.authoring import names


@dataclass(frozen=True)
class Text:
    """A source text, parsed.

    Attributes:
        label: how messages call it: "the cell", "In [4]".
        first_line: the number that its first line has for a reader: 2 when a magic stands above it.
        deferred: it was, or is to be, compiled with `from __future__ import annotations`.
    """

    source: str
    label: str
    first_line: int = 1
    deferred: bool = False
    tree: ast.Module = field(init=False, compare=False)

    def __post_init__(self) -> None:
        tree = _parse(self.source)
        object.__setattr__(self, "tree", tree)
        object.__setattr__(self, "deferred", self.deferred or any(map(_defers, tree.body)))

    def binding(self, name: str) -> list[ast.stmt]:
        """The top-level statements that bind `name`."""
        return [item for item in self.tree.body if any(own == name for own, _ in names.bound([item]))]

    def segment(self, statement: ast.stmt) -> str:
        """The statement as it was written, with its decorators and comments."""
        first, last = first_line(statement), statement.end_lineno or statement.lineno
        lines = self.source.splitlines()
        shared = any(
            item is not statement and first_line(item) <= last and (item.end_lineno or 0) >= first
            for item in self.tree.body
        )
        return (
            ast.unparse(statement) if shared or statement.col_offset else "\n".join(lines[first - 1 : last])
        )

    def quote(self, line: int) -> str:
        """A line as messages show it: `line 4: total = df.sum()`."""
        lines = self.source.splitlines()
        text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        where = "" if self.label == "the cell" else f"{self.label}, "
        return f"{where}line {line + self.first_line - 1}: {text}"


@dataclass(frozen=True)
class Found:
    """A top-level statement, and the text that it stands in."""

    text: Text
    statement: ast.stmt


class Notebook:
    """What can be known of the sources behind a namespace."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.namespace = namespace

    def texts(self) -> Iterator[Text]:
        """The cells that were run, the last one first."""
        cells = self.namespace.get("In")
        if not isinstance(cells, list):
            return
        for number in range(len(cells) - 1, -1, -1):
            if isinstance(cells[number], str):
                text = _cell(cells[number], number)
                if text is not None:
                    yield text

    def definition(self, thing: Any) -> Found | None:
        """Where a function or a class is written; None if its source is not known."""
        if isinstance(thing, type):
            return self._class(thing)
        function = inspect.unwrap(thing)
        code = getattr(function, "__code__", None)
        if code is None:
            return None
        deferred = bool(code.co_flags & future_flags.annotations.compiler_flag)
        lines = linecache.getlines(code.co_filename)
        candidates = [_read("".join(lines), code.co_filename, deferred)] if lines else []
        for text in candidates or self.texts():
            if text is None:
                continue
            for statement in text.tree.body:
                inside = first_line(statement) <= code.co_firstlineno <= (statement.end_lineno or 0)
                if inside and (lines or _defines(statement, code.co_name)):
                    return Found(self._labelled(text, deferred), statement)
        return None

    def assignment(self, name: str) -> Found | None:
        """The statement that bound `name` last, in the cells that were run."""
        for text in self.texts():
            found = text.binding(name)
            if found:
                return Found(text, found[-1])
        return None

    def imported(self, name: str) -> Iterator[tuple[str, str]]:
        """The imports that bound `name`, the last one first: (module, attribute), the attribute "" for a module."""
        for text in self.texts():
            for node in ast.walk(text.tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        if (alias.asname or alias.name.partition(".")[0]) == name:
                            yield (alias.name if alias.asname else name), ""
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    for alias in node.names:
                        if name == (alias.asname or alias.name):
                            yield node.module, alias.name
                        elif alias.name == "*":
                            yield node.module, name

    def _class(self, thing: type) -> Found | None:
        for text in self.texts():
            for statement in text.tree.body:
                if isinstance(statement, ast.ClassDef) and statement.name == thing.__name__:
                    return Found(text, statement)
        for member in vars(
            thing
        ).values():  # not in a cell that IPython knows: ask the methods for their file
            code = getattr(inspect.unwrap(member), "__code__", None) if inspect.isfunction(member) else None
            lines = linecache.getlines(code.co_filename) if code else []
            written = _read("".join(lines), code.co_filename, False) if code and lines else None
            for statement in written.tree.body if written else []:
                if written and isinstance(statement, ast.ClassDef) and statement.name == thing.__name__:
                    return Found(written, statement)
        return None

    def _labelled(self, text: Text, deferred: bool) -> Text:
        """The same text under the number of its cell, if it is one."""
        for cell in self.texts():
            if cell.source.strip() == text.source.strip():
                return Text(text.source, cell.label, cell.first_line, deferred)
        return text


def first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(item.lineno for item in decorators)])


@functools.lru_cache(maxsize=4096)
def _parse(source: str) -> ast.Module:
    return ast.parse(source)


def _read(source: str, label: str, deferred: bool) -> Text | None:
    try:
        return Text(source, label, deferred=deferred)
    except SyntaxError:
        return None


@functools.lru_cache(maxsize=4096)
def _cell(source: str, number: int) -> Text | None:
    text = _read(source, f"In [{number}]", False)
    if text is not None and len(text.tree.body) == 1:
        body = _magic_body(text.tree.body[0])
        if body is not None:
            try:
                return Text(body, f"In [{number}]", first_line=2)
            except SyntaxError:
                return None
    return text


def _magic_body(statement: ast.stmt) -> str | None:
    """The cell's text in `get_ipython().run_cell_magic('time', '', text)`."""
    match statement:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(attr="run_cell_magic"),
                args=[_, _, ast.Constant(value=str() as body)],
            )
        ):
            return body
    return None


def _defers(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.ImportFrom)
        and statement.module == "__future__"
        and any(alias.name == "annotations" for alias in statement.names)
    )


def _defines(statement: ast.stmt, name: str) -> bool:
    return any(own == name for own, _ in names.bound([statement])) or name == "<lambda>"
