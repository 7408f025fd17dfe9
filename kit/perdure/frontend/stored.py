"""The real engine for the frontends: `engine.Engine` on a `store.Store`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from perdure.engine.clock import Clock
from perdure.engine.engine import Engine
from perdure.engine.journal import Journal
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.project import Project
from perdure.errors import StoreError
from perdure.frontend.calls import Service
from perdure.store import Store


class StoredEngine:
    """A started engine and its store.

    Attributes:
        engine: the engine.
        store: its file.
    """

    def __init__(self, engine: Engine, store: Store) -> None:
        self.engine = engine
        self.store = store

    @property
    def service(self) -> Service:
        return self.engine.service

    @property
    def project(self) -> Project:
        return self.engine.project

    async def parquet(self, query: str) -> bytes:
        return await asyncio.to_thread(self.store.parquet, query)

    def on_failure(self, callback: Callable[[StoreError], None]) -> None:
        self.store.on_failure(callback)

    async def stop(self) -> None:
        """Closes the file in this thread: other threads cannot be started while Python exits."""
        try:
            await self.engine.stop()
        finally:
            self.store.close()


def stored_engine(
    clock: Clock, limits: Limits = DEFAULT, journal_of: Callable[[Store], Journal] | None = None
) -> Callable[[Path], Awaitable[StoredEngine]]:
    """How the engine is opened on a DuckDB file. `journal_of`: what it sees of the store, where that is not all."""

    async def open_engine(file: Path) -> StoredEngine:
        store = await asyncio.to_thread(Store.open, file)
        engine = Engine(store if journal_of is None else journal_of(store), clock, limits)
        try:
            await engine.start()
        except BaseException:
            store.close()
            raise
        return StoredEngine(engine, store)

    return open_engine
