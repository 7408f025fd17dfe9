"""The DuckDB file: made, opened, checked, migrated; and DuckDB's errors in people's words.

A new file is made under another name, complete with its schema, and then linked to its own, so that a kill
at any moment leaves either no file or a whole one. An existing file is checked before anything is written
to it: if it is refused, its bytes (and those of its write-ahead log) are as before, because a connection
here never checkpoints by itself.

After opening, the engine behind the connection is locked: no access to other files, no extensions, no
settings. Queries of users run in it (`perdure.store.sql`). While a file is open, do not open and close it
by other means in the same process: closing any descriptor of a file drops the process's POSIX locks on it.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import duckdb

from perdure.errors import (
    DamagedFileError,
    FileInUseError,
    FileNotWritableError,
    NewerFileError,
    StoreError,
)
from perdure.store.rows import TABLES
from perdure.store.statements import migrations, queries

# A checkpoint rewrites blocks and stalls commits; the writer asks for one when it is idle. This is the bound
# if it never is.
_SETTINGS: dict[str, str | int | float | list[str]] = {
    "threads": 1,
    "checkpoint_threshold": "256MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}

# What DuckDB says -> our class, and our rule and remedy. DuckDB has only texts for these.
_EXPLANATIONS: tuple[tuple[str, type[StoreError], str, str], ...] = (
    (
        r"Could not set lock|Conflicting lock|being used by another process",
        FileInUseError,
        "is held by another process{holder}",
        "Close the program that has it open, or set PERDURE_HOME to another folder.",
    ),
    (
        r"different configuration|already attached|Unique file handle conflict",
        FileInUseError,
        "is already open in this process",
        "Close the other connection to it; query it with perdure.sql(...) instead.",
    ),
    (
        r"database file with version number|newer version of DuckDB|newer DuckDB",
        NewerFileError,
        "was written by a newer DuckDB",
        "Upgrade with `pip install --upgrade perdure duckdb`, or use another file.",
    ),
    (
        r"No space left|[Dd]isk quota|File too large|out of disk space|not enough space",
        FileNotWritableError,
        "cannot grow: no space is left on its disk",
        "Free some space and start again; everything that was acknowledged is in the file.",
    ),
    (
        r"Permission denied|Read-only file system|read-only mode|Operation not permitted|Access is denied",
        FileNotWritableError,
        "cannot be written",
        "Make the file and its folder writable, or set PERDURE_HOME to a folder that is.",
    ),
    (
        r"not a valid DuckDB|[Cc]orrupt|Could not read enough bytes|checksum|replaying WAL"
        r"|Serialization Error|truncated",
        DamagedFileError,
        "is damaged, or is not a DuckDB file",
        "Put back a copy of it, or move it (and the .wal file beside it) away to begin a new one.",
    ),
)


def explain(error: Exception, path: Path) -> StoreError:
    """The StoreError for an error that DuckDB or the system raised about the file at `path`."""
    if isinstance(error, StoreError):
        return error
    text = str(error)
    for pattern, kind, rule, remedy in _EXPLANATIONS:
        if re.search(pattern, text):
            pid = re.search(r"PID (\d+)", text)
            holder = f" (pid {pid[1]})" if pid else ""
            return kind(f"{path} {rule.format(holder=holder)}: {_first_line(text)}", remedy)
    return StoreError(
        f"{path} cannot be used: {_first_line(text)}", "Check that the path names a file on a local disk."
    )


def _first_line(text: str) -> str:
    return (
        re.sub(r"^\w[\w ]* Error: ", "", text.strip().splitlines()[0])
        if text.strip()
        else "no reason was given"
    )


def export_folder(path: Path) -> Path:
    """The one folder, beside the file, that the locked engine may write to:

    Results on their way to other processes.
    """
    return path.with_name(path.name + ".export")


def wal_size(path: Path) -> int:
    """Bytes in the write-ahead log."""
    try:
        return path.with_name(path.name + ".wal").stat().st_size
    except FileNotFoundError:
        return 0


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Opens the file at `path` for writing, made if it is not there, at the newest schema, locked.

    Raises StoreError.
    """
    try:
        _check_folder(path)
        if not path.exists():
            _create(path)
        connection = _open(path)
        try:
            _check(connection, path)
            _migrate(connection)
            _lock(connection, path)
        except BaseException:
            connection.close()
            raise
    except (duckdb.Error, OSError) as error:
        raise explain(error, path) from error
    return connection


def _check_folder(path: Path) -> None:
    """The folder must take new files: DuckDB would notice only when it first writes its log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise StoreError(f"{path} is a folder", "Name a file in it, such as history.duckdb.")
    if not os.access(path.parent, os.W_OK | os.X_OK) or (
        path.exists() and not os.access(path, os.R_OK | os.W_OK)
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), config=_SETTINGS)
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    return connection


def _create(path: Path) -> None:
    """Makes a whole new file under another name, then gives it its own, unless somebody was quicker."""
    _remove_unfinished(path)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with _open(new) as connection:
            _migrate(connection)
            connection.execute("CHECKPOINT")
        try:
            os.link(new, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            new.rename(path)
        sync_folder(path.parent)
    finally:
        for left in (new, new.with_name(new.name + ".wal")):
            with suppress(FileNotFoundError):
                left.unlink()


def _remove_unfinished(path: Path) -> None:
    """Removes what processes left that were killed while they made the file; making one takes no minute."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.new*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 60:
                left.unlink()


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a power cut; Windows does so by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuses what is not ours, cut short, or newer than we are."""
    (expected,) = connection.execute(queries()["expected_size"]).fetchall()[0]
    size = path.stat().st_size
    if size < expected:
        raise DamagedFileError(
            f"{path} is damaged: it has {size} bytes, and needs at least {expected}",
            "Put back a copy of it, or move it (and the .wal file beside it) away to begin a new one.",
        )
    metas, tables = connection.execute(queries()["file_state"]).fetchall()[0]
    if not metas and tables:
        raise StoreError(
            f"{path} is a DuckDB file of something else: it has {tables} tables, none of them ours",
            "Name another file.",
        )
    if metas:
        current, writer = _schema_version(connection)
        known = migrations()[-1].version
        if current > known:
            raise NewerFileError(
                f"{path} was written by perdure {writer} (schema {current}; this perdure knows {known})",
                "Upgrade with `pip install --upgrade perdure`, or use another file.",
            )
        found = {name for (name,) in connection.execute(queries()["journal_tables"]).fetchall()}
        if current == known and (missing := sorted({table for table, _ in TABLES.values()} - found)):
            raise StoreError(
                f"{path} was written by a perdure {writer} before its release: it has no {', '.join(missing)}",
                "Move it (and the .wal file beside it) away to begin a new one.",
            )


def _schema_version(connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    found = connection.execute(queries()["schema_version"]).fetchone()
    return (0, "") if found is None else (int(found[0]), str(found[1]))


def _migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Applies the migrations that the file does not have yet, all in one transaction."""
    metas, _ = connection.execute(queries()["file_state"]).fetchall()[0]
    current = _schema_version(connection)[0] if metas else 0
    missing = [migration for migration in migrations() if migration.version > current]
    if not missing:
        return
    connection.execute("BEGIN TRANSACTION")
    for migration in missing:
        for statement in migration.statements:
            connection.execute(statement.text)
        connection.execute(
            queries()["add_meta"], [migration.version, version("perdure"), duckdb.__version__, time.time_ns()]
        )
    connection.execute("COMMIT")


def _lock(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """From here on the engine reads and writes its own file only.

    A second line of defence behind the check of queries.
    """
    connection.execute("SET allowed_directories = [$folder]", {"folder": f"{export_folder(path)}{os.sep}"})
    for setting in (
        "enable_external_access = false",
        "python_enable_replacements = false",
        "TimeZone = 'UTC'",
    ):
        connection.execute(f"SET GLOBAL {setting}")
    connection.execute("SET GLOBAL lock_configuration = true")
