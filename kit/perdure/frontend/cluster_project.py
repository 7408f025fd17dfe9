"""`Project` on a Temporal cluster: what perdure asks of its own engine, as far as the cluster's API can tell.

There is no file, so nothing is kept beside the history: definitions stay in the process that made them, runs are not pinned to
versions, printed text reaches only those who wait in this process, and SQL is refused. Changes are heard of by a long poll of
the history; attempts leave no event, so while activities are open the description is looked at now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError

from perdure.engine.errors import Code, ServiceError
from perdure.engine.project import Notice
from perdure.engine.records import Definition, Output, RunRecords
from perdure.errors import QueryError
from perdure.frontend.cluster_records import run_records

if TYPE_CHECKING:
    import pandas as pd

_LOOK = 1.0  # seconds between two looks at open activities


class ClusterProject:
    """See `perdure.engine.project.Project`. Everything is to be used on one loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: dict[str, set[_Watch]] = {}  # by run id

    async def attend(self, process: str, *, adopts: bool) -> AsyncIterator[Notice]:
        """A cluster knows no leases, and gives no notices."""
        await asyncio.Event().wait()
        nothing: tuple[Notice, ...] = ()
        for notice in nothing:
            yield notice

    async def declare(self, process: str, definitions: Sequence[Definition]) -> None:
        """A cluster gives the tasks of a queue to any worker that polls it; there is nobody to tell."""

    async def definitions(self) -> list[Definition]:
        return []

    async def pinned(self, run_id: str) -> str:
        return ""

    async def read_run(self, workflow_id: str, run_id: str = "") -> RunRecords:
        described = await self._describe(WorkflowExecution(workflow_id=workflow_id, run_id=run_id))
        execution = described.workflow_execution_info.execution
        events: list[HistoryEvent] = []
        token = b""
        while True:
            page = await self._history(execution, token)
            events.extend(page.history.events)
            token = page.next_page_token
            if not token:
                return run_records(self._client.namespace, described, events)

    async def output(self, lines: Sequence[Output]) -> None:
        """Passes text on to those who wait in this process; a cluster has no place for it."""
        for line in lines:
            for watch in self._watched.get(line.run_id, ()):
                watch.printed.append(line)
                watch.changed.set()

    async def watch(self, workflow_id: str, run_id: str = "") -> AsyncIterator[tuple[Output, ...]]:
        described = await self._describe(WorkflowExecution(workflow_id=workflow_id, run_id=run_id))
        execution = described.workflow_execution_info.execution
        watch = _Watch()
        watched = self._watched.setdefault(execution.run_id, set())
        watched.add(watch)
        following = asyncio.create_task(self._follow(execution, watch))
        looking = asyncio.create_task(self._look(execution, watch))
        try:
            while True:
                await watch.changed.wait()
                watch.changed.clear()
                ended = following.done()
                lines, watch.printed = tuple(watch.printed), []
                yield lines
                if ended:
                    await following  # raises what ended it, if it was no closing event
                    return
        finally:
            for task in (following, looking):
                task.cancel()
            await asyncio.gather(following, looking, return_exceptions=True)
            watched.discard(watch)
            if not watched:
                self._watched.pop(execution.run_id, None)

    async def sql(self, query: str) -> pd.DataFrame:
        raise QueryError(
            "SQL is asked of a project's file, and this process is connected to a Temporal cluster.",
            "perdure.runs() lists the cluster's runs; perdure.disconnect() goes back to the file.",
        )

    async def _follow(self, execution: WorkflowExecution, watch: _Watch) -> None:
        """Tells of every new event; returns when the run is closed."""
        token = b""
        try:
            while True:
                page = await self._history(execution, token, wait=True)
                token = page.next_page_token
                if page.history.events:
                    watch.changed.set()
                    watch.advanced.set()
                if not token:
                    return
        finally:
            watch.changed.set()

    async def _look(self, execution: WorkflowExecution, watch: _Watch) -> None:
        """Tells of attempts and heartbeats, which leave no event while their activity is open."""
        seen: list[bytes] = []
        while True:
            described = await self._describe(execution)
            pending = [activity.SerializeToString() for activity in described.pending_activities]
            if pending != seen:
                seen = pending
                watch.changed.set()
            if pending:
                await asyncio.sleep(_LOOK)
            else:
                await watch.advanced.wait()
                watch.advanced.clear()

    async def _describe(self, execution: WorkflowExecution) -> DescribeWorkflowExecutionResponse:
        request = DescribeWorkflowExecutionRequest(namespace=self._client.namespace, execution=execution)
        try:
            return await self._client.workflow_service.describe_workflow_execution(request, retry=True)
        except RPCError as error:
            raise _service_error(error) from error

    async def _history(
        self, execution: WorkflowExecution, token: bytes, *, wait: bool = False
    ) -> GetWorkflowExecutionHistoryResponse:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._client.namespace,
            execution=execution,
            next_page_token=token,
            wait_new_event=wait,
            skip_archival=wait,
        )
        try:
            return await self._client.workflow_service.get_workflow_execution_history(request, retry=True)
        except RPCError as error:
            raise _service_error(error) from error


class _Watch:
    """What one watcher was not told yet."""

    def __init__(self) -> None:
        self.printed: list[Output] = []
        self.changed = asyncio.Event()
        self.advanced = asyncio.Event()  # the history did
        self.changed.set()


def _service_error(error: RPCError) -> ServiceError:
    """Codes that perdure has no name for are those that mean "come again"."""
    number = int(error.status)
    known = any(number == code for code in Code)
    return ServiceError(Code(number) if known else Code.UNAVAILABLE, error.message)
