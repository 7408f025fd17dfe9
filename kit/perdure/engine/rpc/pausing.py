"""Pausing and resuming runs. TEMPORAL.md, section 18."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import (
    WorkflowExecutionPausedEventAttributes,
    WorkflowExecutionUnpausedEventAttributes,
)
from temporalio.api.workflowservice.v1 import (
    PauseWorkflowExecutionRequest,
    PauseWorkflowExecutionResponse,
    UnpauseWorkflowExecutionRequest,
    UnpauseWorkflowExecutionResponse,
)

from perdure.engine import pausing
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.rpc.common import Handlers, find_open_run
from perdure.engine.runs import Run

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def pause_workflow_execution(
    engine: Engine, request: PauseWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> PauseWorkflowExecutionResponse:
    """Pauses an open run; the same request id again succeeds."""
    run = await _find(engine, request)
    if run.ex.paused is None:
        turn = engine.turn(run)
        pausing.pause(
            turn,
            WorkflowExecutionPausedEventAttributes(
                identity=request.identity, reason=request.reason, request_id=request.request_id
            ),
        )
        engine.commit(turn)
    elif not request.request_id or run.ex.paused.request_id != request.request_id:
        raise ServiceError(Code.FAILED_PRECONDITION, "workflow is already paused.")
    await engine.journal.durable(run.ticket)
    return PauseWorkflowExecutionResponse()


async def unpause_workflow_execution(
    engine: Engine, request: UnpauseWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> UnpauseWorkflowExecutionResponse:
    run = await _find(engine, request)
    if run.ex.paused is None:
        raise ServiceError(Code.FAILED_PRECONDITION, "workflow is not paused.")
    turn = engine.turn(run)
    pausing.resume(
        turn,
        WorkflowExecutionUnpausedEventAttributes(
            identity=request.identity, reason=request.reason, request_id=request.request_id
        ),
    )
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return UnpauseWorkflowExecutionResponse()


async def _find(
    engine: Engine, request: PauseWorkflowExecutionRequest | UnpauseWorkflowExecutionRequest
) -> Run:
    for name, text in (
        ("reason", request.reason),
        ("request id", request.request_id),
        ("identity", request.identity),
    ):
        if len(text.encode()) > engine.limits.id_length:
            raise invalid(f"{name} is too long.")
    if not request.workflow_id:
        raise invalid("Can't load workflow execution.  WorkflowId not set.")
    execution = WorkflowExecution(workflow_id=request.workflow_id, run_id=request.run_id)
    return await find_open_run(engine, request.namespace, execution)


HANDLERS: Handlers = {
    "PauseWorkflowExecution": pause_workflow_execution,
    "UnpauseWorkflowExecution": unpause_workflow_execution,
}
