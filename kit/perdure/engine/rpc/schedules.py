"""Schedules: create, describe, update, patch, delete, list. TEMPORAL.md, section 17.

A handler checks the request, lets the scheduler change the state, and answers after the commit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.enums.v1 import TaskQueueKind, WorkflowExecutionStatus, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import QueryFailedFailure, WorkflowExecutionAlreadyStartedFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountSchedulesRequest,
    CountSchedulesResponse,
    CreateScheduleRequest,
    CreateScheduleResponse,
    DeleteScheduleRequest,
    DeleteScheduleResponse,
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    ListScheduleMatchingTimesRequest,
    ListScheduleMatchingTimesResponse,
    ListSchedulesRequest,
    ListSchedulesResponse,
    PatchScheduleRequest,
    PatchScheduleResponse,
    StartWorkflowExecutionRequest,
    UpdateScheduleRequest,
    UpdateScheduleResponse,
)

from perdure.engine import search_attributes, starting
from perdure.engine.checks import check_blob, check_exact_length, check_length
from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.protos import from_timestamp, timestamp
from perdure.engine.rpc import listing
from perdure.engine.rpc.common import COMPLETED, Handlers
from perdure.engine.schedules import decisions, shown, spec
from perdure.engine.schedules.state import DIVISION, FIRST_TOKEN, State

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_PREFIX: Final = (
    "temporal-sys-scheduler:"  # before a schedule's id in Temporal's texts, and where lengths are checked
)
_STAMP: Final = "-2009-11-10T23:00:00Z"  # as long as what is put behind a workflow id
_NOTES: Final = 1000
_REQUESTS_KEPT: Final = 100
_TIMEOUTS: Final = ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"")
_NAME = re.compile(r"[A-Za-z_]\w*")


# --- checks


def _check_id(schedule_id: str) -> None:
    if not schedule_id:
        raise invalid("Can't load workflow execution.  WorkflowId not set.")


def _find(engine: Engine, namespace: str, schedule_id: str, gone: str = COMPLETED) -> State:
    """The schedule. Raises NOT_FOUND; `gone` is said of one that was there once."""
    _check_id(schedule_id)
    state = engine.scheduler.get(namespace, schedule_id)
    if state is None and engine.runs.known(namespace, schedule_id, DIVISION):
        raise not_found(gone)
    if state is None:
        raise not_found(f"workflow not found for ID: {_PREFIX}{schedule_id}")
    return state


def _checked(engine: Engine, namespace: str, schedule: Schedule) -> Schedule:
    """The schedule with its specification in canonical form. Raises INVALID_ARGUMENT."""
    checked = Schedule()
    checked.CopyFrom(schedule)
    try:
        checked.spec.CopyFrom(spec.canonical(schedule.spec))
    except ValueError as error:
        raise invalid(f"Invalid schedule spec: {error}") from None
    if schedule.action.HasField("start_workflow"):
        action = checked.action.start_workflow
        _check_action(engine, namespace, action)
        action.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        if action.HasField("search_attributes"):
            custom = engine.search_attributes.of(namespace)
            action.search_attributes.CopyFrom(search_attributes.typed(action.search_attributes, custom))
    return checked


def _check_action(engine: Engine, namespace: str, action: NewWorkflowExecutionInfo) -> None:
    """What a start would refuse. A retry policy is looked at only then, as by Temporal."""
    if action.workflow_type.name and not action.task_queue.name:
        raise invalid("missing task queue name")
    request = StartWorkflowExecutionRequest(workflow_id=action.workflow_id + _STAMP)
    for name in ("workflow_type", "task_queue", "input", "memo", *_TIMEOUTS):
        getattr(request, name).CopyFrom(getattr(action, name))
    starting.check_start(request, engine.limits)
    if action.cron_schedule:
        raise invalid("Scheduled workflow must not contain CronSchedule")
    if action.workflow_id_reuse_policy not in (
        WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED,
        WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
    ):
        raise invalid("Scheduled workflow must not contain WorkflowIDReusePolicy")
    _typed(engine, namespace, action.search_attributes)


def _typed(engine: Engine, namespace: str, attributes: SearchAttributes) -> SearchAttributes:
    """Checked search attributes, with their types."""
    custom = engine.search_attributes.of(namespace)
    search_attributes.check(attributes, custom, engine.limits, namespace)
    return search_attributes.without_removed(search_attributes.typed(attributes, custom))


def _is_repeated(state: State, request_id: str) -> bool:
    """Whether this update or patch was carried out already; if not, it is remembered."""
    if not request_id:
        return False
    if request_id in state.requests:
        return True
    state.requests.append(request_id)
    del state.requests[:-_REQUESTS_KEPT]
    return False


# --- handlers


async def create_schedule(
    engine: Engine, request: CreateScheduleRequest, metadata: Mapping[str, str]
) -> CreateScheduleResponse:
    _check_id(request.schedule_id)
    check_exact_length("WorkflowId", _PREFIX + request.schedule_id, engine.limits)
    if not request.request_id:
        raise invalid("RequestId is not set on request.")
    check_length("RequestId", request.request_id, engine.limits)
    schedule = _checked(engine, request.namespace, request.schedule)
    attributes = _typed(engine, request.namespace, request.search_attributes)
    if request.memo.ByteSize() > engine.limits.memo_error:
        raise invalid("Memo size exceeds limit.")
    existing = engine.scheduler.get(request.namespace, request.schedule_id)
    if existing is not None:
        if existing.request_id != request.request_id:
            raise ServiceError(
                Code.ALREADY_EXISTS,
                f'schedule "{request.schedule_id}" is already registered',
                WorkflowExecutionAlreadyStartedFailure(),
            )
        return CreateScheduleResponse(conflict_token=FIRST_TOKEN.to_bytes(8, "big"))
    state = State(request.namespace, request.schedule_id, engine.new_id(), request.request_id, Schedule())
    decisions.set_schedule(state, schedule)
    state.memo.CopyFrom(request.memo)
    state.search_attributes.CopyFrom(attributes)
    patch = request.initial_patch
    ticket = engine.scheduler.create(state, lambda now: decisions.patch(state, patch, now))
    await engine.journal.durable(ticket)
    return CreateScheduleResponse(conflict_token=FIRST_TOKEN.to_bytes(8, "big"))


async def describe_schedule(
    engine: Engine, request: DescribeScheduleRequest, metadata: Mapping[str, str]
) -> DescribeScheduleResponse:
    state = _find(engine, request.namespace, request.schedule_id, gone="schedule not found")
    return shown.described(state, engine.clock.now())


async def update_schedule(
    engine: Engine, request: UpdateScheduleRequest, metadata: Mapping[str, str]
) -> UpdateScheduleResponse:
    check_length("RequestId", request.request_id, engine.limits)
    schedule = _checked(engine, request.namespace, request.schedule)
    attributes = _typed(engine, request.namespace, request.search_attributes)
    if not request.schedule.action.HasField("start_workflow"):
        raise invalid("Only StartWorkflow action is supported for schedules")
    check_blob(request.schedule.action.start_workflow.input, engine.limits)
    state = _find(engine, request.namespace, request.schedule_id)
    if _is_repeated(state, request.request_id):
        return UpdateScheduleResponse()
    if any(request.conflict_token) and request.conflict_token != shown.token(state):
        raise ServiceError(Code.FAILED_PRECONDITION, "mismatched conflict token")

    def change(now: int) -> None:
        decisions.update(state, schedule, now)
        if request.HasField("search_attributes"):
            state.search_attributes.CopyFrom(attributes)
        if request.HasField("memo"):
            state.memo.CopyFrom(request.memo)

    await engine.journal.durable(engine.scheduler.change(state, change))
    return UpdateScheduleResponse()


async def patch_schedule(
    engine: Engine, request: PatchScheduleRequest, metadata: Mapping[str, str]
) -> PatchScheduleResponse:
    if not request.HasField("patch"):
        raise invalid("Patch is not set on request.")
    check_length("RequestId", request.request_id, engine.limits)
    if max(len(request.patch.pause.encode()), len(request.patch.unpause.encode())) > _NOTES:
        raise invalid("Schedule notes exceeds limit.")
    state = _find(engine, request.namespace, request.schedule_id)
    if not _is_repeated(state, request.request_id):
        ticket = engine.scheduler.change(state, lambda now: decisions.patch(state, request.patch, now))
        await engine.journal.durable(ticket)
    return PatchScheduleResponse()


async def delete_schedule(
    engine: Engine, request: DeleteScheduleRequest, metadata: Mapping[str, str]
) -> DeleteScheduleResponse:
    state = _find(engine, request.namespace, request.schedule_id)
    status = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED
    await engine.journal.durable(engine.scheduler.delete(state, status))
    return DeleteScheduleResponse()


async def list_schedule_matching_times(
    engine: Engine, request: ListScheduleMatchingTimesRequest, metadata: Mapping[str, str]
) -> ListScheduleMatchingTimesResponse:
    state = _find(engine, request.namespace, request.schedule_id, gone="schedule not found")
    if not (request.HasField("start_time") and request.HasField("end_time")):
        said = Failure(message="missing or invalid query", source="GoSDK")
        said.application_failure_info.SetInParent()
        raise invalid(said.message, QueryFailedFailure(failure=said))
    start, end = from_timestamp(request.start_time), from_timestamp(request.end_time)
    try:
        found = shown.matching_times(state, start, end)
    except spec.TooManyExclusionsError as error:
        raise invalid(str(error)) from None
    return ListScheduleMatchingTimesResponse(start_time=map(timestamp, found))


# --- lists


async def list_schedules(
    engine: Engine, request: ListSchedulesRequest, metadata: Mapping[str, str]
) -> ListSchedulesResponse:
    where = listing.scope(engine, request.namespace, DIVISION)
    query = _query(engine, request.namespace, request.query)
    size = request.maximum_page_size
    page = await listing.find_page(engine, where, query, size, request.next_page_token)
    states = [engine.scheduler.get(request.namespace, row.workflow_id) for row in page.rows]
    now = engine.clock.now()
    return ListSchedulesResponse(
        schedules=[shown.listed(state, now) for state in states if state is not None],
        next_page_token=page.next,
    )


async def count_schedules(
    engine: Engine, request: CountSchedulesRequest, metadata: Mapping[str, str]
) -> CountSchedulesResponse:
    where = listing.scope(engine, request.namespace, DIVISION)
    rows = await listing.count(engine, where, _query(engine, request.namespace, request.query))
    return CountSchedulesResponse(count=sum(number for _, number in rows))


def _query(engine: Engine, namespace: str, query: str) -> str:
    """The filter, of schedules that are there. It may name their ids, whether they are paused, and custom search attributes."""
    if not query.strip():
        return "ExecutionStatus = 'Running'"
    custom = engine.search_attributes.of(namespace)
    for name in _NAME.findall(_QUOTED.sub("''", query)):
        for field in (name, f"Temporal{name}"):
            built_in = search_attributes.is_built_in(field) or field == "TemporalScheduleId" == name
            if built_in and field not in custom and field != "TemporalSchedulePaused":
                raise invalid(f'invalid query filter for schedules: cannot filter on "{field}"')
    return f"ExecutionStatus = 'Running' AND ({query})"


HANDLERS: Handlers = {
    "CreateSchedule": create_schedule,
    "DescribeSchedule": describe_schedule,
    "UpdateSchedule": update_schedule,
    "PatchSchedule": patch_schedule,
    "DeleteSchedule": delete_schedule,
    "ListScheduleMatchingTimes": list_schedule_matching_times,
    "ListSchedules": list_schedules,
    "CountSchedules": count_schedules,
}
