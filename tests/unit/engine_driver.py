"""An engine in memory with a hand for a worker, for tests that read like sentences about Temporal."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, Payloads, RetryPolicy, WorkflowExecution
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

from perdure.engine.engine import Engine
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.protos import SECOND, duration
from perdure.engine.runs import Run
from perdure.engine.task_queues import QueueKey, Seen
from perdure.testing import JumpingClock, MemoryJournal

QUEUE = "queue"
PARKING = replace(DEFAULT, open_bytes=0)


def payload(text: str) -> Payloads:
    data = f'"{text}"'.encode()
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=data)])


class Driver:
    """An engine, and short names for the calls that clients and workers make."""

    def __init__(
        self,
        journal: MemoryJournal | None = None,
        clock: JumpingClock | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.clock = clock or JumpingClock()
        self.limits = limits
        self.engine = Engine(self.journal, self.clock, limits)

    async def call(self, method: str, request: Message) -> Any:
        return await self.engine.service.call(method, request)

    async def start(self, workflow_id: str = "w", **fields: Any) -> str:
        request = StartWorkflowExecutionRequest(namespace="default", workflow_id=workflow_id, **fields)
        request.workflow_type.name = request.workflow_type.name or "Flow"
        request.task_queue.name = request.task_queue.name or QUEUE
        return str((await self.call("StartWorkflowExecution", request)).run_id)

    async def workflow_task(
        self, queue: str = QUEUE, identity: str = "worker"
    ) -> PollWorkflowTaskQueueResponse:
        request = PollWorkflowTaskQueueRequest(namespace="default", identity=identity)
        request.task_queue.name = queue
        return await self.call("PollWorkflowTaskQueue", request)  # type: ignore[no-any-return]

    async def complete(
        self, task: PollWorkflowTaskQueueResponse, *commands: Command, sticky: str = "", **fields: Any
    ) -> Any:
        request = RespondWorkflowTaskCompletedRequest(
            namespace="default", task_token=task.task_token, commands=commands, identity="worker", **fields
        )
        if sticky:
            request.sticky_attributes.worker_task_queue.name = sticky
            request.sticky_attributes.schedule_to_start_timeout.CopyFrom(duration(10 * SECOND))
        return await self.call("RespondWorkflowTaskCompleted", request)

    async def step(self, *commands: Command) -> PollWorkflowTaskQueueResponse:
        """Takes the next workflow task and answers it."""
        task = await self.workflow_task()
        await self.complete(task, *commands)
        return task

    async def activity_task(self, identity: str = "worker") -> PollActivityTaskQueueResponse:
        request = PollActivityTaskQueueRequest(namespace="default", identity=identity)
        request.task_queue.name = QUEUE
        return await self.call("PollActivityTaskQueue", request)  # type: ignore[no-any-return]

    async def complete_activity(self, task: PollActivityTaskQueueResponse, result: str = "done") -> None:
        request = RespondActivityTaskCompletedRequest(task_token=task.task_token, result=payload(result))
        await self.call("RespondActivityTaskCompleted", request)

    async def fail_activity(
        self, task: PollActivityTaskQueueResponse, failure: Failure | None = None
    ) -> None:
        failure = failure or application_failure()
        request = RespondActivityTaskFailedRequest(task_token=task.task_token, failure=failure)
        await self.call("RespondActivityTaskFailed", request)

    async def signal(self, name: str = "go", workflow_id: str = "w", request_id: str = "") -> None:
        request = SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            request_id=request_id,
        )
        await self.call("SignalWorkflowExecution", request)

    async def history(self, workflow_id: str = "w", run_id: str = "") -> list[HistoryEvent]:
        request = GetWorkflowExecutionHistoryRequest(namespace="default")
        request.execution.workflow_id, request.execution.run_id = workflow_id, run_id
        response = await self.engine.service.call(
            "GetWorkflowExecutionHistory", request, {"client-name": "temporal-cli"}
        )
        assert not response.next_page_token  # type: ignore[attr-defined]
        return list(response.history.events)  # type: ignore[attr-defined]

    async def names(self, workflow_id: str = "w", run_id: str = "") -> list[str]:
        return [name(event) for event in await self.history(workflow_id, run_id)]

    def run(self, workflow_id: str = "w") -> Run:
        run = self.engine.runs.open_run("default", workflow_id)
        assert run is not None
        return run

    def has_polled(self, queue: str) -> None:
        """A worker has just polled a queue of workflow tasks."""
        known = self.engine.matching.queue(QueueKey("default", queue, "workflow")).seen
        known["worker", "", ""] = Seen("worker", self.clock.now(), None, None)

    async def crash(self) -> Driver:
        """The process is gone; another one opens what was committed."""
        await self.engine.stop()
        successor = Driver(copy.deepcopy(self.journal), self.clock, self.limits)
        await successor.engine.start()
        return successor


def name(event: HistoryEvent) -> str:
    """EVENT_TYPE_TIMER_FIRED -> TimerFired"""
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def in_engine(test: Callable[[Driver], Awaitable[None]]) -> Callable[[], None]:
    """Runs an async test with a started engine; then again with one that leaves every quiet run to its journal."""

    async def on(limits: Limits) -> None:
        driver = Driver(limits=limits)
        await driver.engine.start()
        try:
            await asyncio.wait_for(test(driver), 20)
        finally:
            await driver.engine.stop()

    @wraps(test)
    def run() -> None:
        asyncio.run(on(DEFAULT))
        asyncio.run(on(PARKING))

    del run.__wrapped__  # type: ignore[attr-defined]  # or pytest takes the driver for a fixture
    return run


# --- commands


def schedule_activity(
    activity_id: str = "1",
    *,
    start_to_close: int = 10,
    policy: RetryPolicy | None = None,
    timeouts: dict[str, int] | None = None,
    eager: bool = False,
) -> Command:
    """Times in seconds."""
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = "act"
    attributes.task_queue.name = QUEUE
    attributes.request_eager_execution = eager
    if start_to_close:
        attributes.start_to_close_timeout.CopyFrom(duration(start_to_close * SECOND))
    for field, seconds in (timeouts or {}).items():
        getattr(attributes, field).CopyFrom(duration(seconds * SECOND))
    if policy is not None:
        attributes.retry_policy.CopyFrom(policy)
    return command


def cancel_activity(scheduled_id: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
    command.request_cancel_activity_task_command_attributes.scheduled_event_id = scheduled_id
    return command


def start_timer(timer_id: str = "1", seconds: int = 60) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = timer_id
    command.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(duration(seconds * SECOND))
    return command


def cancel_timer(timer_id: str = "1") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
    command.cancel_timer_command_attributes.timer_id = timer_id
    return command


def start_child(workflow_id: str = "child", policy: int = 0) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.workflow_id, attributes.parent_close_policy = workflow_id, policy  # type: ignore[assignment]
    attributes.workflow_type.name = "Child"
    attributes.task_queue.name = "children"
    return command


def continue_as_new() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    command.continue_as_new_workflow_execution_command_attributes.SetInParent()
    return command


def complete_workflow(result: str = "done") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    command.complete_workflow_execution_command_attributes.result.CopyFrom(payload(result))
    return command


def fail_workflow() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    command.fail_workflow_execution_command_attributes.failure.CopyFrom(application_failure())
    return command


def application_failure(type: str = "ValueError", *, non_retryable: bool = False) -> Failure:
    failure = Failure(message="boom")
    failure.application_failure_info.type = type
    failure.application_failure_info.non_retryable = non_retryable
    return failure


def only(events: Sequence[HistoryEvent], wanted: str) -> HistoryEvent:
    [event] = [event for event in events if name(event) == wanted]
    return event
