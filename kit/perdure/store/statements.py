"""The SQL texts, read from the `.sql` files beside this module.

A file is a row of statements. Each begins with a line `-- name: <name>` and a comment that says what it is
for, and ends with `;`. Files named `<number>_<name>.sql` are migrations: they are applied once, in order of
number, and never changed after a release; a file's schema version is the number of the last one applied to
it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_NAME = re.compile(r"^-- name: (\w+)\n((?:--.*\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a `.sql` file; `text` is without the final semicolon."""

    name: str
    purpose: str
    text: str


@dataclass(frozen=True, slots=True)
class Migration:
    """What takes a file to schema version `version`."""

    version: int
    name: str
    statements: tuple[Statement, ...]


def parse(source: str) -> tuple[Statement, ...]:
    """Splits a `.sql` file.

    Raises ValueError for a statement without a purpose or a final semicolon, or a name used twice.
    """
    heads = list(_NAME.finditer(source))
    if len(heads) != source.count("-- name:"):
        raise ValueError(
            "each '-- name: <name>' line needs a comment after it that says what the statement is for"
        )
    ends = [head.start() for head in heads[1:]] + [len(source)]
    statements = tuple(
        _statement(head, source[head.end() : end].strip()) for head, end in zip(heads, ends, strict=True)
    )
    names = [statement.name for statement in statements]
    if len(set(names)) != len(names):
        raise ValueError(f"a name is used twice: {sorted(names)}")
    return statements


def _statement(head: re.Match[str], text: str) -> Statement:
    if not text.endswith(";"):
        raise ValueError(f"statement {head[1]} does not end with a semicolon")
    purpose = " ".join(line.removeprefix("--").strip() for line in head[2].splitlines())
    return Statement(head[1], purpose, text[:-1])


@cache
def queries() -> dict[str, str]:
    """The texts of `queries.sql`, by name."""
    return {statement.name: statement.text for statement in parse(_read("queries.sql"))}


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    names = sorted(entry.name for entry in _folder().iterdir() if re.match(r"\d{4}_\w+\.sql$", entry.name))
    return tuple(Migration(int(name[:4]), name[5:-4], parse(_read(name))) for name in names)


def _folder() -> Traversable:
    return files("perdure.store") / "sql"


def _read(name: str) -> str:
    return _folder().joinpath(name).read_text(encoding="utf-8")
