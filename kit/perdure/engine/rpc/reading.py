"""Reading runs: describe, history. TEMPORAL.md, sections 1.2 and 7.4."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    EventType,
    HistoryEventFilterType,
    PendingWorkflowTaskState,
    TaskQueueKind,
)
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import (
    PendingChildExecutionInfo,
    PendingWorkflowTaskInfo,
    ResetPoints,
    WorkflowExecutionConfig,
    WorkflowExecutionExtendedInfo,
    WorkflowExecutionInfo,
)
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
    GetWorkflowExecutionHistoryReverseRequest,
    GetWorkflowExecutionHistoryReverseResponse,
)

from perdure.engine import attempts, virtual_time
from perdure.engine.errors import invalid
from perdure.engine.listed import search_attributes
from perdure.engine.protos import SECOND, duration, from_duration, timestamp
from perdure.engine.rpc.common import Handlers, find_run
from perdure.engine.runs import Run
from perdure.engine.state import RUNNING, Execution
from perdure.engine.workflow_tasks import virtual_events

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_CLOSE_EVENT = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
_NEVER = -62_135_596_800  # the year 1, which the server gives as the time of what does not come
_WITHOUT_VIRTUAL_EVENTS = ("temporal-cli", "temporal-ui")  # clients that cannot make sense of them


# --- describe


async def describe_workflow_execution(
    engine: Engine, request: DescribeWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> DescribeWorkflowExecutionResponse:
    run = await find_run(engine, request.namespace, request.execution)
    ex = run.ex
    response = DescribeWorkflowExecutionResponse(
        execution_config=_config(ex),
        workflow_execution_info=_info(ex),
        workflow_extended_info=_extended(ex),
    )
    if (skipping := virtual_time.info(ex, engine.turn(run).now)) is not None:
        response.workflow_extended_info.time_skipping_info.CopyFrom(skipping)
    if ex.open:
        now = engine.turn(run).now
        response.pending_activities.extend(attempts.describe(a, now) for a in ex.activities.values())
        response.pending_children.extend(
            PendingChildExecutionInfo(
                workflow_id=child.attributes.workflow_id,
                run_id=child.run_id,
                workflow_type_name=child.attributes.workflow_type.name,
                initiated_id=child.initiated_id,
                parent_close_policy=child.attributes.parent_close_policy,
            )
            for child in ex.children.values()
        )
        if ex.task is not None:
            response.pending_workflow_task.CopyFrom(_pending_task(ex))
    await engine.journal.durable(run.ticket)
    return response


def _config(ex: Execution) -> WorkflowExecutionConfig:
    started = ex.started
    config = WorkflowExecutionConfig(
        task_queue=TaskQueue(name=ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
        default_workflow_task_timeout=started.workflow_task_timeout,
        user_metadata=ex.events[0].user_metadata if ex.events[0].HasField("user_metadata") else None,
    )
    for name in ("workflow_execution_timeout", "workflow_run_timeout"):
        if started.HasField(name):
            getattr(config, name).CopyFrom(getattr(started, name))
    return config


def _info(ex: Execution) -> WorkflowExecutionInfo:
    started = ex.started
    root = started.root_workflow_execution
    info = WorkflowExecutionInfo(
        execution=WorkflowExecution(workflow_id=ex.workflow_id, run_id=ex.run_id),
        type=started.workflow_type,
        start_time=timestamp(ex.start_time),
        execution_time=timestamp(ex.start_time + from_duration(started.first_workflow_task_backoff)),
        status=ex.status,  # type: ignore[arg-type]
        history_length=len(ex.events),
        history_size_bytes=ex.history_size,
        memo=ex.memo,
        search_attributes=search_attributes(ex),
        auto_reset_points=ResetPoints(points=ex.reset_points),
        priority=ex.priority if ex.priority.ByteSize() else None,
        task_queue=ex.task_queue,
        state_transition_count=ex.transitions,
        first_run_id=ex.first_run_id,
        root_execution=root
        if root.workflow_id
        else WorkflowExecution(workflow_id=ex.workflow_id, run_id=ex.run_id),
    )
    if started.parent_workflow_execution.workflow_id:
        info.parent_execution.CopyFrom(started.parent_workflow_execution)
        info.parent_namespace_id = started.parent_workflow_namespace_id
    if not ex.open:
        info.close_time.CopyFrom(timestamp(ex.close_time))
        began = info.execution_time.ToNanoseconds()
        info.execution_duration.CopyFrom(duration(max(0, ex.close_time - began)))
    for event in reversed(ex.events):
        if event.HasField("workflow_task_completed_event_attributes"):
            completed = event.workflow_task_completed_event_attributes
            if completed.HasField("worker_version"):
                info.most_recent_worker_version_stamp.CopyFrom(completed.worker_version)
            break
    if (versioning := ex.versioning.info()) is not None:
        info.versioning_info.CopyFrom(versioning)
    info.worker_deployment_name = ex.versioning.deployment_name
    return info


def _extended(ex: Execution) -> WorkflowExecutionExtendedInfo:
    info = WorkflowExecutionExtendedInfo(
        cancel_requested=ex.cancel_requested,
        original_start_time=ex.events[0].event_time,
        reset_run_id=ex.reset_run_id,
    )
    if ex.reset_time:
        info.last_reset_time.CopyFrom(timestamp(ex.reset_time))
    if ex.paused is not None and ex.open:
        info.pause_info.identity = ex.paused.identity
        info.pause_info.reason = ex.paused.reason
        info.pause_info.paused_time.CopyFrom(timestamp(ex.paused_time))
    if ex.execution_expiration is not None:
        info.execution_expiration_time.CopyFrom(timestamp(ex.execution_expiration))
    if ex.run_expiration is not None:
        info.run_expiration_time.CopyFrom(timestamp(ex.run_expiration))
    else:
        info.run_expiration_time.seconds = _NEVER
    _tell_request_ids(ex, info)
    return info


def _tell_request_ids(ex: Execution, info: WorkflowExecutionExtendedInfo) -> None:
    """Which request led to which event; one that waits in the buffer has no id yet."""
    kinds = (
        ({ex.start_request_id: 1}, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED),
        (ex.attached_request_ids, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED),
        (ex.signal_requests, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED),
    )
    for known, event_type in kinds:
        for request_id, event_id in known.items():
            if request_id:
                told = info.request_id_infos[request_id]
                told.event_type, told.event_id, told.buffered = event_type, event_id, not event_id


def _pending_task(ex: Execution) -> PendingWorkflowTaskInfo:
    task = ex.task
    assert task is not None
    info = PendingWorkflowTaskInfo(
        state=PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
        if task.started
        else PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED,
        scheduled_time=timestamp(task.scheduled_time),
        original_scheduled_time=timestamp(task.original_scheduled_time),
        attempt=max(task.attempt, ex.task_failures + 1),
    )
    if task.started:
        info.started_time.CopyFrom(timestamp(task.started_time))
    return info


# --- history


async def get_workflow_execution_history(
    engine: Engine, request: GetWorkflowExecutionHistoryRequest, metadata: Mapping[str, str]
) -> GetWorkflowExecutionHistoryResponse:
    token = _decode_page(request.next_page_token)
    run = await _find_paged(engine, request.namespace, request.execution, token)
    if request.history_event_filter_type == _CLOSE_EVENT:
        return await _close_event(engine, request, run)
    after = int(token.get("after", 0))
    wait = request.wait_new_event
    if wait and after >= len(run.ex.events) and run.ex.open:
        await _wait_events(engine, run, after)
    size = _page_size(engine, request.maximum_page_size)
    events = run.ex.events[after : after + size]
    await engine.journal.durable(run.ticket)
    response = GetWorkflowExecutionHistoryResponse(history=History(events=events))
    at_end = after + len(events) >= len(run.ex.events)
    if at_end and not wait:
        response.history.events.extend(_virtual(engine, run, metadata))
    if not at_end or (wait and run.ex.open):
        response.next_page_token = _encode_page(run, after + len(events))
    return response


async def _find_paged(
    engine: Engine, namespace: str, execution: WorkflowExecution, token: Mapping[str, str]
) -> Run:
    """The run that is meant; further pages are of the run of the first."""
    run_id = token.get("run", "")
    if run_id and execution.run_id and run_id != execution.run_id:
        raise invalid("RunId in the request does not match the NextPageToken.")
    named = WorkflowExecution(workflow_id=execution.workflow_id, run_id=run_id or execution.run_id)
    return await find_run(engine, namespace, named)


async def _wait_events(engine: Engine, run: Run, after: int) -> None:
    deadline = engine.limits.long_poll / SECOND
    while len(run.ex.events) <= after and run.ex.open:
        if not await run.change(deadline):
            return


async def _close_event(
    engine: Engine, request: GetWorkflowExecutionHistoryRequest, run: Run
) -> GetWorkflowExecutionHistoryResponse:
    """The last event of a closed run; with `wait_new_event` not before it is closed.

    As on Temporal's server, a paused run does not count as running here: Temporal's command line asks so what it shows of it.
    """
    if request.wait_new_event:
        remaining = engine.limits.long_poll
        end = engine.clock.now() + remaining
        while run.ex.open and (remaining := end - engine.clock.now()) > 0:
            if not await run.change(remaining / SECOND):
                break
        if run.ex.open:
            await engine.journal.durable(run.ticket)
            return GetWorkflowExecutionHistoryResponse(
                history=History(), next_page_token=_encode_page(run, len(run.ex.events))
            )
    await engine.journal.durable(run.ticket)
    events = [] if run.ex.status == RUNNING else run.ex.events[-1:]
    return GetWorkflowExecutionHistoryResponse(history=History(events=events))


def _virtual(engine: Engine, run: Run, metadata: Mapping[str, str]) -> list[HistoryEvent]:
    """The events of a virtual workflow task; a worker that lost its cache needs them."""
    task = run.ex.task
    if task is None or not task.virtual or metadata.get("client-name", "") in _WITHOUT_VIRTUAL_EVENTS:
        return []
    return virtual_events(engine.turn(run), task)


def _page_size(engine: Engine, wanted: int) -> int:
    most = engine.limits.history_page
    return min(wanted, most) if wanted > 0 else most


def _encode_page(run: Run, after: int) -> bytes:
    return json.dumps({"run": run.ex.run_id, "after": after}).encode()


def _decode_page(token: bytes) -> dict[str, str]:
    if not token:
        return {}
    try:
        value = json.loads(token)
        return {"run": str(value["run"]), "after": str(int(value["after"]))}
    except (ValueError, KeyError, TypeError):
        raise invalid("Invalid NextPageToken.") from None


async def get_workflow_execution_history_reverse(
    engine: Engine, request: GetWorkflowExecutionHistoryReverseRequest, metadata: Mapping[str, str]
) -> GetWorkflowExecutionHistoryReverseResponse:
    """The same, last event first. The token counts down: `after` is the lowest id given out so far."""
    token = _decode_page(request.next_page_token)
    run = await _find_paged(engine, request.namespace, request.execution, token)
    end = int(token["after"]) - 1 if token else len(run.ex.events)
    size = _page_size(engine, request.maximum_page_size)
    begin = max(0, end - size)
    events = list(reversed(run.ex.events[begin:end]))
    await engine.journal.durable(run.ticket)
    response = GetWorkflowExecutionHistoryReverseResponse(history=History(events=events))
    if begin > 0:
        response.next_page_token = _encode_page(run, begin + 1)
    return response


HANDLERS: Handlers = {
    "DescribeWorkflowExecution": describe_workflow_execution,
    "GetWorkflowExecutionHistory": get_workflow_execution_history,
    "GetWorkflowExecutionHistoryReverse": get_workflow_execution_history_reverse,
}
