"""Steering open runs: signal, cancel, terminate. TEMPORAL.md, section 1.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import (
    WorkflowExecutionCancelRequestedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
)
from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    RequestCancelWorkflowExecutionResponse,
    ResetStickyTaskQueueRequest,
    ResetStickyTaskQueueResponse,
    SignalWorkflowExecutionRequest,
    SignalWorkflowExecutionResponse,
    TerminateWorkflowExecutionRequest,
    TerminateWorkflowExecutionResponse,
)

from perdure.engine import externals
from perdure.engine.closing import terminate_run
from perdure.engine.rpc import links
from perdure.engine.rpc.common import Handlers, check_chain, find_open_run, find_run
from perdure.engine.updates import check_not_closing

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


_NO_REASON = "terminated by user via frontend"


async def signal_workflow_execution(
    engine: Engine, request: SignalWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> SignalWorkflowExecutionResponse:
    run = await find_open_run(engine, request.namespace, request.workflow_execution)
    externals.check_signals(run.ex, engine.limits)
    check_not_closing(run.ex)
    turn = engine.turn(run)
    externals.signal(
        turn,
        WorkflowExecutionSignaledEventAttributes(
            signal_name=request.signal_name,
            input=request.input if request.HasField("input") else None,
            identity=request.identity,
            header=request.header if request.HasField("header") else None,
            request_id=request.request_id,
        ),
        request.links,
    )
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return SignalWorkflowExecutionResponse(
        link=links.to_request(run.ex, request.request_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    )


async def request_cancel_workflow_execution(
    engine: Engine, request: RequestCancelWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> RequestCancelWorkflowExecutionResponse:
    """Asks for cancellation, once. Of a closed run, and a second time, it succeeds without effect."""
    run = await find_run(engine, request.namespace, request.workflow_execution)
    check_chain(run, request.first_execution_run_id)
    if run.ex.open:
        turn = engine.turn(run)
        externals.request_cancel(
            turn,
            WorkflowExecutionCancelRequestedEventAttributes(cause=request.reason, identity=request.identity),
            request.links,
        )
        engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return RequestCancelWorkflowExecutionResponse()


async def terminate_workflow_execution(
    engine: Engine, request: TerminateWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> TerminateWorkflowExecutionResponse:
    run = await find_open_run(
        engine, request.namespace, request.workflow_execution, request.first_execution_run_id
    )
    turn = engine.turn(run)
    details = request.details if request.HasField("details") else None
    terminate_run(turn, request.reason or _NO_REASON, details, request.identity, links=request.links)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return TerminateWorkflowExecutionResponse()


async def reset_sticky_task_queue(
    engine: Engine, request: ResetStickyTaskQueueRequest, metadata: Mapping[str, str]
) -> ResetStickyTaskQueueResponse:
    run = await find_open_run(engine, request.namespace, request.execution)
    run.ex.sticky_queue = ""
    return ResetStickyTaskQueueResponse()


HANDLERS: Handlers = {
    "SignalWorkflowExecution": signal_workflow_execution,
    "RequestCancelWorkflowExecution": request_cancel_workflow_execution,
    "TerminateWorkflowExecution": terminate_workflow_execution,
    "ResetStickyTaskQueue": reset_sticky_task_queue,
}
