"""An engine that is all answers: what the frontends are tested against when the engine is not the matter."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from google.protobuf.message import Message
from temporalio.api.errordetails.v1 import QueryFailedFailure, WorkflowExecutionAlreadyStartedFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceResponse,
    GetSystemInfoResponse,
    PollActivityTaskQueueResponse,
    StartWorkflowExecutionResponse,
)

from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.project import Adopt, Notice
from perdure.engine.records import Definition, EventBuffered, ExecutionStarted, Output, RunRecords
from perdure.errors import QueryError, StoreError

DEFINITION = Definition("workflow", "payment", "a1", "perdure_cells.payment_a1", "payment", "x = 'ä'\n")
RECORDS = RunRecords(
    ExecutionStarted("default", "payment-7", "r", "r", "payment", "perdure", 1, 2, version="a1"),
    events=[HistoryEvent(event_id=1), HistoryEvent(event_id=2)],
    buffered=[EventBuffered("r", 0, HistoryEvent(event_id=0))],
)


class FakeService:
    """Answers a few RPCs. `polls` counts those that hang; `ended` is set when one of them was cancelled."""

    def __init__(self) -> None:
        self.metadata: Mapping[str, str] = {}
        self.requests: list[Message] = []
        self.answer = GetSystemInfoResponse(server_version="fake")
        self.failures = 0
        self.polling, self.ended = threading.Event(), threading.Event()

    async def call(self, method: str, request: Any, metadata: Mapping[str, str] = {}) -> Message:
        self.metadata = metadata
        self.requests.append(request)
        handler = getattr(self, method, None)
        if handler is None:
            raise ServiceError(Code.UNIMPLEMENTED, f"{method} is not implemented.")
        answer: Message = await handler(request)
        return answer

    async def GetSystemInfo(self, request: Message) -> Message:
        return self.answer

    async def StartWorkflowExecution(self, request: Any) -> Message:
        if request.workflow_id == "taken":
            detail = WorkflowExecutionAlreadyStartedFailure(start_request_id="q", run_id="old")
            raise ServiceError(Code.ALREADY_EXISTS, "Workflow execution is already running.", detail)
        return StartWorkflowExecutionResponse(run_id=f"run of {request.workflow_id}")

    async def QueryWorkflow(self, request: Any) -> Message:
        size = int(request.query.query_type)
        failure = Failure(message="no such query", stack_trace="x" * size, cause=Failure(message="y" * size))
        raise invalid("no such query " + "z" * size, QueryFailedFailure(failure=failure))

    async def SignalWorkflowExecution(self, request: Any) -> Message:
        raise ZeroDivisionError("a bug")

    async def TerminateWorkflowExecution(self, request: Any) -> Message:
        raise StoreError("The disk is full.", "Free some space.")

    async def RequestCancelWorkflowExecution(self, request: Any) -> Message:
        raise not_found(request.workflow_execution.workflow_id)

    async def DescribeNamespace(self, request: Any) -> Message:
        if self.failures == 3:
            return DescribeNamespaceResponse()
        self.failures += 1
        raise ServiceError(Code.ABORTED, f"attempt {self.failures}")

    async def PollActivityTaskQueue(self, request: Any) -> Message:
        self.polling.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.set()
            raise
        return PollActivityTaskQueueResponse()


class FakeProject:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.lines: list[tuple[Output, ...]] = [(), (Output("r", 5, 1, 10, "stdout", "hello\n"),)]
        self.closed = True  # the watched run
        self.attending, self.left = threading.Event(), threading.Event()
        self.watching, self.unwatched = threading.Event(), threading.Event()

    async def attend(self, process: str, *, adopts: bool) -> AsyncIterator[Notice]:
        self.told.append((process, adopts))
        self.attending.set()
        try:
            yield Adopt((DEFINITION,))
            await asyncio.Event().wait()
        finally:
            self.left.set()

    async def declare(self, process: str, definitions: Sequence[Definition]) -> None:
        self.told.append((process, list(definitions)))

    async def definitions(self) -> list[Definition]:
        return [DEFINITION]

    async def pinned(self, run_id: str) -> str:
        return f"version of {run_id}"

    async def read_run(self, workflow_id: str, run_id: str = "") -> RunRecords:
        if workflow_id != "payment-7":
            raise not_found(
                f"workflow not found for ID: {workflow_id}", WorkflowExecutionAlreadyStartedFailure()
            )
        return RECORDS

    async def output(self, lines: Sequence[Output]) -> None:
        self.told.append(list(lines))

    async def watch(self, workflow_id: str, run_id: str = "") -> AsyncIterator[tuple[Output, ...]]:
        self.watching.set()
        try:
            for lines in self.lines:
                yield lines
            if not self.closed:
                await asyncio.Event().wait()
        finally:
            self.unwatched.set()

    async def sql(self, query: str) -> Any:
        raise AssertionError("the frontend asks for parquet")


class FakeEngine:
    """A RunningEngine."""

    def __init__(self) -> None:
        self.service = FakeService()
        self.project = FakeProject()
        self.stopped = False
        self.fail: Callable[[StoreError], None] = lambda error: None

    async def parquet(self, query: str) -> bytes:
        def run() -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "x.parquet")
                try:
                    duckdb.sql(query).write_parquet(str(file))
                except duckdb.Error as error:
                    raise QueryError(f"The query failed: {error}", "Mend it.") from error
                return file.read_bytes()

        return await asyncio.to_thread(run)

    def on_failure(self, callback: Callable[[StoreError], None]) -> None:
        self.fail = callback

    async def stop(self) -> None:
        self.stopped = True


def opener(engine: FakeEngine) -> Callable[[Path], Awaitable[FakeEngine]]:
    async def open_engine(file: Path) -> FakeEngine:
        return engine

    return open_engine
