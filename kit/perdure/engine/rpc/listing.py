"""Lists and counts of workflows. TEMPORAL.md, sections 1.4 and 16.

`find_page` and `count` serve every list of the API: what kind of runs is meant, and under which names, is told by a scope.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.filter.v1 import (
    StartTimeFilter,
    StatusFilter,
    WorkflowExecutionFilter,
    WorkflowTypeFilter,
)
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    ListArchivedWorkflowExecutionsRequest,
    ListArchivedWorkflowExecutionsResponse,
    ListClosedWorkflowExecutionsRequest,
    ListClosedWorkflowExecutionsResponse,
    ListOpenWorkflowExecutionsRequest,
    ListOpenWorkflowExecutionsResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
    ScanWorkflowExecutionsRequest,
    ScanWorkflowExecutionsResponse,
)

from perdure.engine.errors import invalid
from perdure.engine.journal import InvalidQueryError, InvalidTokenError, Page, Scope, Summary
from perdure.engine.protos import duration, from_timestamp, timestamp
from perdure.engine.rpc.common import Handlers
from perdure.engine.starting import pin

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


# --- for every list


def scope(
    engine: Engine, namespace: str, division: str = "", aliases: Mapping[str, str] | None = None
) -> Scope:
    """The runs of a namespace and division, with the namespace's search attributes. See `Scope`."""
    return Scope(namespace, engine.search_attributes.of(namespace), division, aliases or {})


async def find_page(engine: Engine, where: Scope, query: str, size: int, token: bytes) -> Page:
    """A page of runs. Raises INVALID_ARGUMENT."""
    limit = engine.limits.visibility_page
    try:
        return await engine.journal.list_executions(where, query, size if 0 < size <= limit else limit, token)
    except InvalidQueryError as error:
        raise invalid(f"invalid query: {error}") from None
    except InvalidTokenError:
        raise invalid("Invalid NextPageToken.") from None


async def count(engine: Engine, where: Scope, query: str) -> list[tuple[tuple[str, ...], int]]:
    """How many runs match, for each group if the query groups. Raises INVALID_ARGUMENT."""
    try:
        return await engine.journal.count_executions(where, query)
    except InvalidQueryError as error:
        raise invalid(f"invalid query: {error}") from None


def group_value(value: str) -> Payload:
    """A group's name as counts give it."""
    return Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=json.dumps(value).encode())


def listed(row: Summary) -> WorkflowExecutionInfo:
    """A run as lists of workflows show it."""
    info = WorkflowExecutionInfo(
        execution=WorkflowExecution(workflow_id=row.workflow_id, run_id=row.run_id),
        type=WorkflowType(name=row.workflow_type),
        start_time=timestamp(row.start_time),
        execution_time=timestamp(row.execution_time),
        status=row.status,  # type: ignore[arg-type]
        task_queue=row.task_queue,
        memo=row.memo,
        search_attributes=row.search_attributes,
        root_execution=WorkflowExecution(
            workflow_id=row.root_workflow_id or row.workflow_id, run_id=row.root_run_id or row.run_id
        ),
    )
    if row.close_time is not None:
        info.close_time.CopyFrom(timestamp(row.close_time))
        info.execution_duration.CopyFrom(duration(max(0, row.close_time - row.execution_time)))
        info.history_length = row.history_length
        info.history_size_bytes = row.history_size_bytes
        info.state_transition_count = row.state_transitions
    if row.parent_workflow_id:
        info.parent_execution.CopyFrom(
            WorkflowExecution(workflow_id=row.parent_workflow_id, run_id=row.parent_run_id)
        )
    if row.version:
        info.versioning_info.versioning_override.CopyFrom(pin(row.workflow_type, row.version))
    return info


# --- the RPCs


async def list_workflow_executions(
    engine: Engine, request: ListWorkflowExecutionsRequest, metadata: Mapping[str, str]
) -> ListWorkflowExecutionsResponse:
    where = scope(engine, request.namespace)
    page = await find_page(engine, where, request.query, request.page_size, request.next_page_token)
    return ListWorkflowExecutionsResponse(
        executions=[listed(row) for row in page.rows], next_page_token=page.next
    )


async def scan_workflow_executions(
    engine: Engine, request: ScanWorkflowExecutionsRequest, metadata: Mapping[str, str]
) -> ScanWorkflowExecutionsResponse:
    """The same list; Temporal gave it in no order once."""
    where = scope(engine, request.namespace)
    page = await find_page(engine, where, request.query, request.page_size, request.next_page_token)
    return ScanWorkflowExecutionsResponse(
        executions=[listed(row) for row in page.rows], next_page_token=page.next
    )


async def list_archived_workflow_executions(
    engine: Engine, request: ListArchivedWorkflowExecutionsRequest, metadata: Mapping[str, str]
) -> ListArchivedWorkflowExecutionsResponse:
    raise invalid("Cluster is not configured for visibility archival.")


async def list_open_workflow_executions(
    engine: Engine, request: ListOpenWorkflowExecutionsRequest, metadata: Mapping[str, str]
) -> ListOpenWorkflowExecutionsResponse:
    page = await _find_filtered(engine, request, "CloseTime IS NULL")
    return ListOpenWorkflowExecutionsResponse(
        executions=[listed(row) for row in page.rows], next_page_token=page.next
    )


async def list_closed_workflow_executions(
    engine: Engine, request: ListClosedWorkflowExecutionsRequest, metadata: Mapping[str, str]
) -> ListClosedWorkflowExecutionsResponse:
    page = await _find_filtered(engine, request, "CloseTime IS NOT NULL")
    return ListClosedWorkflowExecutionsResponse(
        executions=[listed(row) for row in page.rows], next_page_token=page.next
    )


async def _find_filtered(
    engine: Engine,
    request: ListOpenWorkflowExecutionsRequest | ListClosedWorkflowExecutionsRequest,
    condition: str,
) -> Page:
    """A page of what an older list request asks for, which has filters of its own in place of a query."""
    query = [condition, *_started(request.start_time_filter)]
    match request.WhichOneof("filters"):
        case "execution_filter":
            query.append(_of_id(request.execution_filter))
        case "type_filter":
            query.append(_of_type(request.type_filter))
        case "status_filter" if isinstance(request, ListClosedWorkflowExecutionsRequest):
            query.append(_of_status(request.status_filter))
    where = scope(engine, request.namespace)
    size = request.maximum_page_size
    return await find_page(engine, where, " AND ".join(query), size, request.next_page_token)


def _started(between: StartTimeFilter) -> list[str]:
    earliest, latest = from_timestamp(between.earliest_time), from_timestamp(between.latest_time)
    if latest and earliest > latest:
        raise invalid("EarliestTime in StartTimeFilter should not be larger than LatestTime.")
    return [
        f"StartTime {sign} {when}"
        for sign, when, given in (
            (">=", earliest, between.earliest_time),
            ("<=", latest, between.latest_time),
        )
        if given != Timestamp()
    ]


def _of_id(wanted: WorkflowExecutionFilter) -> str:
    terms = [f"WorkflowId = {_quoted(wanted.workflow_id)}"]
    return " AND ".join(terms + ([f"RunId = {_quoted(wanted.run_id)}"] if wanted.run_id else []))


def _of_type(wanted: WorkflowTypeFilter) -> str:
    return f"WorkflowType = {_quoted(wanted.name)}"


def _of_status(wanted: StatusFilter) -> str:
    if wanted.status in (0, WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING):
        raise invalid("StatusFilter must be specified and must be not Running.")
    return f"ExecutionStatus = {int(wanted.status)}"


def _quoted(text: str) -> str:
    doubled = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


async def count_workflow_executions(
    engine: Engine, request: CountWorkflowExecutionsRequest, metadata: Mapping[str, str]
) -> CountWorkflowExecutionsResponse:
    rows = await count(engine, scope(engine, request.namespace), request.query)
    response = CountWorkflowExecutionsResponse(count=sum(number for _, number in rows))
    for values, number in rows:
        if values:
            response.groups.add(count=number).group_values.extend(group_value(value) for value in values)
    return response


HANDLERS: Handlers = {
    "ListWorkflowExecutions": list_workflow_executions,
    "ScanWorkflowExecutions": scan_workflow_executions,
    "ListOpenWorkflowExecutions": list_open_workflow_executions,
    "ListClosedWorkflowExecutions": list_closed_workflow_executions,
    "ListArchivedWorkflowExecutions": list_archived_workflow_executions,
    "CountWorkflowExecutions": count_workflow_executions,
}
