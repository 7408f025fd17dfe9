"""The store: one DuckDB file behind the engine's Journal protocol.

Writing goes through one thread (`perdure.store.writer`). Reading has cursors of its own, on worker threads;
DuckDB gives each a snapshot, so that neither waits for the other.

Who opens a store closes it. Stores that are still open when Python exits are closed then, after everything
that was registered with `atexit` since this module was imported: a thread inside DuckDB must not outlive
the interpreter.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb

from perdure.engine.journal import Page, Scope, Summary, page_token, read_page_token
from perdure.engine.records import Definition, Kept, Record, RunRecords
from perdure.errors import FileInUseError, StoreError
from perdure.store import queries, reader
from perdure.store.files import connect, explain
from perdure.store.statements import queries as statements
from perdure.store.visibility import compile_filter
from perdure.store.writer import Writer

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection

T = TypeVar("T")

_RUNS_AT_ONCE = 500  # in recovery
_SUPERSEDED = 1000  # old versions of documents that the file may hold when it is opened

_open_stores: dict[Path, Store | None] = {}  # None while one is being opened
_open_stores_lock = threading.Lock()


class Store:
    """An open history file. Made with `Store.open`; implements `perdure.engine.journal.Journal`."""

    def __init__(self, path: Path, connection: DuckDBPyConnection) -> None:
        self.path = path
        self._reading = connection.cursor()
        self._cursors: set[DuckDBPyConnection] = set()
        self._cursors_lock = threading.Lock()
        self._closed = False
        ((superseded,),) = reader.rows(self._reading, "superseded_kept")
        if superseded > _SUPERSEDED:
            connection.execute(statements()["drop_superseded_kept"])
        ((last_seq,),) = reader.rows(self._reading, "last_seq")
        self._writer = Writer(connection, path, last_seq)
        self._readers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="perdure-read")

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Opens the file, made if it is not there. Raises StoreError, and leaves the file as it was."""
        resolved = Path(path).expanduser().resolve()
        with _open_stores_lock:
            if resolved in _open_stores:
                raise FileInUseError(
                    f"{resolved} is already open in this process", "Use the session that has it open."
                )
            _open_stores[resolved] = None
        try:
            store = _open_stores[resolved] = cls._on(resolved, connect(resolved))
        except BaseException:
            del _open_stores[resolved]
            raise
        return store

    @classmethod
    def _on(cls, path: Path, connection: DuckDBPyConnection) -> Store:
        try:
            return cls(path, connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, duckdb.Error):
                raise explain(error, path) from error
            raise

    def close(self) -> None:
        """Commits what is queued, ends queries that still run, and lets go of the file.

        More than once is fine.
        """
        with self._cursors_lock:
            if self._closed:
                return
            self._closed = True
            for cursor in self._cursors:
                cursor.interrupt()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._reading.close()
        self._writer.close()
        queries.remove_exports(self.path)
        del _open_stores[self.path]

    def append(self, records: Sequence[Record]) -> int:
        """Queues records for the next commit.

        Returns their ticket. Raises StoreError after a failed commit.
        """
        return self._writer.append(records)

    async def durable(self, ticket: int) -> None:
        """Returns once everything up to `ticket` is on disk. Raises StoreError if it never will be."""
        await self._writer.durable(ticket)

    def on_failure(self, callback: Callable[[StoreError], None]) -> None:
        """Calls back, on the writer's thread, when a commit has failed and the store has stopped."""
        self._writer.on_failure(callback)

    @property
    def committed(self) -> int:
        """The greatest ticket that is on disk."""
        return self._writer.committed

    def recover(self) -> Iterator[RunRecords]:
        """Every open run, with all its records, oldest first; some hundred are read at a time."""
        run_ids = self._read(reader.open_run_ids)
        for first in range(0, len(run_ids), _RUNS_AT_ONCE):
            yield from self._read(
                partial(reader.runs, run_ids=run_ids[first : first + _RUNS_AT_ONCE])
            ).values()

    def definitions(self) -> list[Definition]:
        """Every definition version ever kept; the one kept last comes last."""
        return self._read(reader.definitions)

    def kept(self) -> list[Kept]:
        """The newest version of every document that is not a run."""
        return self._read(reader.kept)

    def workflow_ids(self) -> Iterable[tuple[str, str, str]]:
        """(namespace, division, workflow_id) of every run in the file."""
        return self._read(reader.workflow_ids)

    async def latest_run(self, namespace: str, workflow_id: str, division: str = "") -> Summary | None:
        """The newest committed run of a workflow id, open or closed."""
        return await self._in_thread(
            lambda cursor: reader.latest_run(cursor, namespace, workflow_id, division)
        )

    async def read_run(self, run_id: str) -> RunRecords | None:
        """All committed records of a run; None if there is none."""
        return await self._in_thread(lambda cursor: reader.runs(cursor, [run_id]).get(run_id))

    async def read_runs(self, run_ids: Sequence[str]) -> dict[str, RunRecords]:
        """All committed records of many runs at once."""
        return await self._in_thread(lambda cursor: reader.runs(cursor, list(run_ids)))

    def read_run_now(self, run_id: str) -> RunRecords | None:
        """Likewise, on the caller's thread."""
        return self._read(lambda cursor: reader.runs(cursor, [run_id]).get(run_id))

    async def list_executions(self, scope: Scope, query: str, limit: int, after: bytes = b"") -> Page:
        """Runs that match a list filter. Raises InvalidQueryError, InvalidTokenError."""
        place = read_page_token(scope, query, after)
        condition = compile_filter(query, scope)
        if place is not None:
            condition = condition.after(place)
        found = await self._in_thread(lambda cursor: reader.list_executions(cursor, condition, limit))
        more = len(found) == limit
        return Page([row for row, _ in found], page_token(scope, query, found[-1][1]) if more else b"")

    async def count_executions(self, scope: Scope, query: str) -> list[tuple[tuple[str, ...], int]]:
        """Counts of runs that match: one row, or one for each group of GROUP BY. Raises InvalidQueryError."""
        condition = compile_filter(query, scope, counting=True)
        return await self._in_thread(lambda cursor: reader.count_executions(cursor, condition))

    def sql(self, query: str) -> pd.DataFrame:
        """The rows of one read-only query. Blocks: call it on a worker thread. Raises QueryError."""
        return self._read(lambda cursor: queries.dataframe(cursor, query))

    def parquet(self, query: str) -> bytes:
        """As `sql`, as the bytes of a Parquet file; `perdure.store.queries.from_parquet` reads them."""
        return self._read(lambda cursor: queries.parquet(cursor, query, self.path))

    async def _in_thread(self, read: Callable[[DuckDBPyConnection], T]) -> T:
        if self._closed:
            raise StoreError(f"{self.path} is closed", "Open a new session.")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, read)

    def _read(self, read: Callable[[DuckDBPyConnection], T]) -> T:
        with self._cursor() as cursor:
            try:
                return read(cursor)
            except duckdb.Error as error:
                raise explain(error, self.path) from error

    @contextmanager
    def _cursor(self) -> Iterator[DuckDBPyConnection]:
        with self._cursors_lock:
            if self._closed:
                raise StoreError(f"{self.path} is closed", "Open a new session.")
            cursor = self._reading.cursor()
            self._cursors.add(cursor)
        try:
            yield cursor
        finally:
            with self._cursors_lock:
                self._cursors.discard(cursor)
                cursor.close()


@atexit.register
def _close_all() -> None:
    for store in list(_open_stores.values()):
        if store is not None:
            store.close()
