"""The `.sql` files: every statement has a name and a purpose, and is one statement; migrations are numbered without a gap."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

import perdure.store
from perdure.store.statements import Statement, migrations, parse, queries

FOLDER = Path(perdure.store.__file__).parent
STATEMENTS = [
    pytest.param(statement, id=f"{file.stem}-{statement.name}")
    for file in sorted((FOLDER / "sql").glob("*.sql"))
    for statement in parse(file.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_is_one_statement_with_a_purpose(statement: Statement) -> None:
    assert statement.purpose[0].isupper() or statement.purpose[0] == "`"
    assert statement.purpose.endswith((".", ")"))
    assert len(duckdb.extract_statements(statement.text)) == 1


def test_every_query_is_used() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py"))
    assert [name for name in queries() if not re.search(f"[\"']{name}[\"']", code)] == []


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_table_and_column_is_what_the_rows_are_made_for() -> None:
    from perdure.store.rows import TABLES

    with duckdb.connect() as connection:
        for migration in migrations():
            for statement in migration.statements:
                connection.execute(statement.text)
        found = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'journal'"
        ).fetchall()
    assert {name for (name,) in found} == {table for table, _ in TABLES.values()} | {"meta"}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("-- name: a\nSELECT 1;\n", "needs a comment"),
        ("-- name: a\n-- One.\nSELECT 1\n", "does not end with a semicolon"),
        ("-- name: a\n-- One.\nSELECT 1;\n-- name: a\n-- Two.\nSELECT 2;\n", "used twice"),
    ],
)
def test_a_file_that_is_not_well_formed_is_refused(source: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse(source)
