"""Queries, in both forms. TEMPORAL.md, section 14.

A query rides on the workflow task that is pending or about to come, and so sees everything acknowledged before it; a run at rest is asked
directly, with a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from temporalio.api.enums.v1 import QueryRejectCondition, QueryResultType, WorkflowExecutionStatus
from temporalio.api.errordetails.v1 import (
    QueryFailedFailure,
    ResourceExhaustedFailure,
    WorkflowNotReadyFailure,
)
from temporalio.api.query.v1 import QueryRejected
from temporalio.api.workflowservice.v1 import (
    QueryWorkflowRequest,
    QueryWorkflowResponse,
    RespondQueryTaskCompletedRequest,
    RespondQueryTaskCompletedResponse,
)

from perdure.engine.checks import check_blob
from perdure.engine.errors import Code, ServiceError, not_found
from perdure.engine.limits import Limits
from perdure.engine.protos import SECOND
from perdure.engine.routing import QUERY
from perdure.engine.rpc.common import Handlers, Token, find_run
from perdure.engine.runs import DIRECT, Query, Run
from perdure.engine.task_queues import Offer, QueueKey

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_COMPLETED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED


async def query_workflow(
    engine: Engine, request: QueryWorkflowRequest, metadata: Mapping[str, str]
) -> QueryWorkflowResponse:
    check_blob(request.query.query_args, engine.limits)
    run = await find_run(engine, request.namespace, request.execution)
    if rejected := _rejection(run, request.query_reject_condition):
        return QueryWorkflowResponse(query_rejected=rejected)
    query = Query(engine.new_id(), request.query, asyncio.get_running_loop().create_future())
    run.queries[query.id] = query
    try:
        return _response(await _ask(engine, run, query))
    finally:
        del run.queries[query.id]


async def _ask(engine: Engine, run: Run, query: Query) -> RespondQueryTaskCompletedRequest:
    """Lets the query ride while a task is pending or to come; asks directly when the run is at rest."""
    ex = run.ex
    _check_ready(engine, run)
    while not query.answer.done():
        _check_started(run)
        task = ex.task if ex.open else None
        if query.task_stamp is not None and (task is None or task.stamp != query.task_stamp):
            query.task_stamp = None  # the task that carried it ended without an answer
        at_rest = task is None and ex.previous_started_id > 0
        if at_rest and query.task_stamp is None:
            return await _ask_directly(engine, run, query)
        await _answer_or_change(run, query)
    return query.answer.result()


async def _answer_or_change(run: Run, query: Query) -> None:
    changed = asyncio.create_task(run.changed.wait())
    waiting: set[asyncio.Future[Any]] = {query.answer, changed}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        changed.cancel()


def _rejection(run: Run, condition: int) -> QueryRejected | None:
    ex = run.ex
    if ex.paused is not None and ex.open:
        return QueryRejected(status=ex.status)  # type: ignore[arg-type]
    not_open = condition == QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_OPEN
    not_clean = condition == QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY
    if not ex.open and (not_open or (not_clean and ex.status != _COMPLETED)):
        return QueryRejected(status=ex.status)  # type: ignore[arg-type]
    return None


def _check_ready(engine: Engine, run: Run) -> None:
    """When a query comes. One that waits already goes on waiting, however often the task fails meanwhile."""
    ex = run.ex
    if ex.open and ex.attempt >= engine.limits.not_ready:
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            "Unable to query workflow due to Workflow Task in failed state.",
            WorkflowNotReadyFailure(),
        )
    if len(run.queries) > engine.limits.buffered_queries:
        raise ServiceError(
            Code.RESOURCE_EXHAUSTED, "consistent query buffer is full", ResourceExhaustedFailure()
        )


def _check_started(run: Run) -> None:
    if not run.ex.open and not run.ex.previous_started_id:
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            "Workflow execution closed before WorkflowTaskStarted event",
            WorkflowNotReadyFailure(),
        )


async def _ask_directly(engine: Engine, run: Run, query: Query) -> RespondQueryTaskCompletedRequest:
    """Sends a query task of its own: to the sticky queue while a worker attends it, then to the normal one."""
    ex = run.ex
    query.task_stamp = DIRECT

    def valid() -> bool:
        return not query.answer.done()

    engine.adopt("workflow", ex.workflow_type, ex.version)
    offer = Offer("query", ex.run_id, query.id, valid, QUERY)
    if ex.sticky_queue:
        key = QueueKey(ex.namespace, ex.sticky_queue, "workflow")
        if engine.matching.attended(key, engine.clock.now() - engine.limits.sticky_poller_memory):
            engine.matching.offer(key, offer)
            done, _ = await asyncio.wait({query.answer}, timeout=ex.sticky_timeout / SECOND)
            if done:
                return query.answer.result()
            ex.sticky_queue = ""
    engine.matching.offer(QueueKey(ex.namespace, ex.task_queue, "workflow"), offer)
    return await query.answer


def _response(answer: RespondQueryTaskCompletedRequest) -> QueryWorkflowResponse:
    if answer.completed_type == QueryResultType.QUERY_RESULT_TYPE_FAILED:
        failure = answer.failure if answer.HasField("failure") else None
        message = answer.error_message or answer.failure.message
        raise ServiceError(Code.INVALID_ARGUMENT, message, QueryFailedFailure(failure=failure))
    return QueryWorkflowResponse(query_result=answer.query_result)


def within_limits(
    answer: RespondQueryTaskCompletedRequest, limits: Limits
) -> RespondQueryTaskCompletedRequest:
    """The worker's answer; one that is too large is a failed query."""
    if answer.query_result.ByteSize() <= limits.blob_error:
        return answer
    return RespondQueryTaskCompletedRequest(
        completed_type=QueryResultType.QUERY_RESULT_TYPE_FAILED, error_message="Blob data size exceeds limit."
    )


async def respond_query_task_completed(
    engine: Engine, request: RespondQueryTaskCompletedRequest, metadata: Mapping[str, str]
) -> RespondQueryTaskCompletedResponse:
    token = Token.decode(request.task_token)
    run = await engine.runs.get(token.namespace, token.workflow_id, token.run_id)
    query = run.queries.get(token.started) if run is not None else None
    if query is None or query.answer.done():
        raise not_found("query task not found, or already expired")
    query.answer.set_result(within_limits(request, engine.limits))
    return RespondQueryTaskCompletedResponse()


HANDLERS: Handlers = {
    "QueryWorkflow": query_workflow,
    "RespondQueryTaskCompleted": respond_query_task_completed,
}
