"""SQL of users over the file: one SELECT, read-only, nothing but the file.

Three lines of defence: DuckDB's own parser tells what a text is, and its tree names every table function,
of which only those on a short list are let through; the query runs in a read-only transaction; and the
engine is locked, with access to other files switched off (`perdure.store.files`).
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from perdure.errors import QueryError
from perdure.store.files import export_folder

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection

_TABLE_FUNCTIONS = frozenset(
    {
        "range",
        "generate_series",
        "unnest",
        "json_each",
        "json_tree",
        "repeat",
        "summary",
        "pragma_table_info",
        "pragma_database_size",
    }
    | {
        "pragma_storage_info",
        "pragma_version",
        "duckdb_tables",
        "duckdb_views",
        "duckdb_columns",
        "duckdb_schemas",
        "duckdb_types",
    }
    | {"duckdb_functions", "duckdb_keywords", "duckdb_settings", "duckdb_memory"}
)
_REFUSED_FUNCTIONS = frozenset({"nextval", "setval", "write_log", "sleep_ms", "setseed"})
_TABLES = "executions, events, activities, attempts, timers, signals, definitions, output"


def check(cursor: DuckDBPyConnection, query: str) -> str:
    """The query's one statement, if it is one that only reads the file. Raises QueryError."""
    try:
        statements = cursor.extract_statements(query)
    except duckdb.Error as error:
        raise _failed(error) from error
    if len(statements) != 1:
        raise QueryError(
            f"a query is one statement; this text has {len(statements)}", "Run them one after the other."
        )
    text: str = statements[0].query
    kind = statements[0].type.name
    if kind != "SELECT":
        raise QueryError(
            f"only SELECT can be run on the history, not {kind}",
            "Take the rows into a DataFrame and change them there.",
        )
    tree = json.loads(
        cursor.execute("SELECT json_serialize_sql($text::VARCHAR)", {"text": text}).fetchall()[0][0]
    )
    if tree.get("error"):
        raise QueryError(
            f"this form of SELECT cannot be checked: {tree.get('error_message')}",
            "Write it as a plain SELECT.",
        )
    for name, is_table in _functions(tree):
        if (is_table and name not in _TABLE_FUNCTIONS) or name in _REFUSED_FUNCTIONS:
            raise QueryError(
                f"the function {name} is not allowed: queries read this history, no files or other databases",
                f"Use the tables {_TABLES}; read files with pandas and join in Python.",
            )
    return text


def _functions(node: Any) -> Iterator[tuple[str, bool]]:
    """(name, whether it stands in place of a table) of each function call in a tree of json_serialize_sql."""
    if isinstance(node, list):
        for item in node:
            yield from _functions(item)
    elif isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            function = dict(node["function"])
            yield str(function.get("function_name", "")).lower(), True
            yield from _functions([value for key, value in function.items() if key != "function_name"])
            return
        if node.get("class") == "FUNCTION":
            yield str(node.get("function_name", "")).lower(), False
        for value in node.values():
            yield from _functions(value)


def _failed(error: Exception) -> QueryError:
    return QueryError(
        str(error).strip(), f"The tables are {_TABLES}; perdure.sql('describe executions') lists columns."
    )


@contextmanager
def _reading(cursor: DuckDBPyConnection) -> Iterator[None]:
    """A read-only transaction; DuckDB's errors in it are the query's."""
    try:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        try:
            yield
        finally:
            cursor.rollback()
    except duckdb.FatalException:  # the engine has stopped: no fault of the query
        raise
    except duckdb.Error as error:
        raise _failed(error) from error


def _checked(cursor: DuckDBPyConnection, query: str) -> str:
    """The statement, with times that have a zone turned into UTC TIMESTAMPs, as all times here are (pandas
    would want pytz).
    """
    text = check(cursor, query)
    columns = cursor.execute(f"DESCRIBE {text}").fetchall()
    zoned = ['"' + row[0].replace('"', '""') + '"' for row in columns if row[1] == "TIMESTAMP WITH TIME ZONE"]
    if not zoned:
        return text
    casts = ", ".join(f"timezone('UTC', {name}) AS {name}" for name in zoned)
    return f"SELECT * REPLACE ({casts}) FROM (\n{text}\n)"


def dataframe(cursor: DuckDBPyConnection, query: str) -> pd.DataFrame:
    """The rows of a query."""
    with _reading(cursor):
        return cursor.execute(_checked(cursor, query)).df()


def parquet(cursor: DuckDBPyConnection, query: str, path: Path) -> bytes:
    """The rows of a query as a Parquet file's bytes, for another process: see `from_parquet`."""
    folder = export_folder(path)
    target = folder / f"{secrets.token_hex(8)}.parquet"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with _reading(cursor):
            text = _checked(cursor, query)
            name = str(target).replace("'", "''")
            cursor.execute(f"COPY (\n{text}\n) TO '{name}' (FORMAT parquet, COMPRESSION zstd)")
        return target.read_bytes()
    finally:
        target.unlink(missing_ok=True)


def remove_exports(path: Path) -> None:
    """Removes the folder that `parquet` uses."""
    shutil.rmtree(export_folder(path), ignore_errors=True)


def from_parquet(data: bytes) -> pd.DataFrame:
    """The DataFrame of what `parquet` gave; needs no pyarrow."""
    with tempfile.TemporaryDirectory(prefix="perdure-") as folder, duckdb.connect() as connection:
        file = Path(folder) / "rows.parquet"
        file.write_bytes(data)
        return connection.execute("SELECT * FROM read_parquet($file)", {"file": str(file)}).df()
