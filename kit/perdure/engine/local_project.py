"""`Project` beside the engine, on its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from perdure.engine.errors import Code, ServiceError, not_found
from perdure.engine.project import Notice
from perdure.engine.records import Definition, Output, RunRecords
from perdure.engine.runs import Run

if TYPE_CHECKING:
    import pandas as pd

    from perdure.engine.engine import Engine

_NAMESPACE = "default"


class LocalProject:
    """See `perdure.engine.project.Project`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listeners: dict[str, set[asyncio.Queue[Output]]] = {}  # by run id

    async def attend(self, process: str, *, adopts: bool) -> AsyncIterator[Notice]:
        lease = self._engine.attend(process, adopts)
        try:
            while True:
                yield await lease.notices.get()
        finally:
            self._engine.leave(lease)

    async def declare(self, process: str, definitions: Sequence[Definition]) -> None:
        await self._engine.journal.durable(self._engine.declared(process, list(definitions)))

    async def definitions(self) -> list[Definition]:
        return self._engine.definitions.all()

    async def pinned(self, run_id: str) -> str:
        run = self._engine.runs.in_memory(run_id)
        if run is not None:
            return run.ex.version
        records = await self._engine.journal.read_run(run_id)
        if records is None:
            raise not_found(f"run not found for run ID: {run_id}")
        return records.changed.version if records.changed is not None else records.started.version

    async def _find(self, workflow_id: str, run_id: str) -> Run:
        runs = self._engine.runs
        if run_id:
            run = await runs.get(_NAMESPACE, workflow_id, run_id)
        else:
            run = await runs.latest(_NAMESPACE, workflow_id)
        if run is None:
            raise not_found(f"workflow not found for ID: {workflow_id}")
        return run

    async def read_run(self, workflow_id: str, run_id: str = "") -> RunRecords:
        run = await self._find(workflow_id, run_id)
        await self._engine.journal.durable(run.ticket)
        records = await self._engine.journal.read_run(run.ex.run_id)
        if records is None:
            raise not_found(f"workflow not found for ID: {workflow_id} and run ID: {run.ex.run_id}")
        return records

    async def output(self, lines: Sequence[Output]) -> None:
        ticket = self._engine.journal.append(list(lines))
        await self._engine.journal.durable(ticket)
        for line in lines:
            for listener in self._listeners.get(line.run_id, ()):
                listener.put_nowait(line)
        for run_id in {line.run_id for line in lines}:
            if run := self._engine.runs.in_memory(run_id):
                run.wake()

    async def watch(self, workflow_id: str, run_id: str = "") -> AsyncIterator[tuple[Output, ...]]:
        run = await self._find(workflow_id, run_id)
        listener: asyncio.Queue[Output] = asyncio.Queue()
        listeners = self._listeners.setdefault(run.ex.run_id, set())
        listeners.add(listener)
        try:
            while True:
                revision, still_open = run.revision, run.ex.open
                await self._engine.journal.durable(run.ticket)
                yield tuple(listener.get_nowait() for _ in range(listener.qsize()))
                if run.revision == revision:
                    if not still_open:
                        return
                    await run.change()
        finally:
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(run.ex.run_id, None)

    async def sql(self, query: str) -> pd.DataFrame:
        ask = getattr(self._engine.journal, "sql", None)
        if ask is None:
            raise ServiceError(Code.UNIMPLEMENTED, "this engine's journal cannot be asked in SQL")
        frame: pd.DataFrame = await asyncio.to_thread(ask, query)
        return frame
