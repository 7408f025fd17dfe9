"""Steering open runs: signal, cancel, terminate, move to another version. TEMPORAL.md, section 1.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.api.history.v1 import (
    WorkflowExecutionCancelRequestedEventAttributes,
    WorkflowExecutionOptionsUpdatedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
)
from temporalio.api.workflow.v1 import VersioningOverride
from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    RequestCancelWorkflowExecutionResponse,
    ResetStickyTaskQueueRequest,
    ResetStickyTaskQueueResponse,
    SignalWorkflowExecutionRequest,
    SignalWorkflowExecutionResponse,
    TerminateWorkflowExecutionRequest,
    TerminateWorkflowExecutionResponse,
    UpdateWorkflowExecutionOptionsRequest,
    UpdateWorkflowExecutionOptionsResponse,
)

from perdure.engine import externals
from perdure.engine.closing import terminate_run
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.project import Reload
from perdure.engine.protos import timestamp
from perdure.engine.rpc import time_skipping
from perdure.engine.rpc.common import Handlers, check_chain, find_open_run, find_run
from perdure.engine.runs import Run
from perdure.engine.state import Execution
from perdure.engine.workflow_tasks import deliver

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def signal_workflow_execution(
    engine: Engine, request: SignalWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> SignalWorkflowExecutionResponse:
    run = await find_open_run(engine, request.namespace, request.workflow_execution)
    if run.ex.signal_count >= engine.limits.signals:
        raise ServiceError(
            Code.RESOURCE_EXHAUSTED,
            f"exceeded workflow execution limit for signal events ({engine.limits.signals})",
            ResourceExhaustedFailure(),
        )
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
    )
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return SignalWorkflowExecutionResponse()


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
    terminate_run(turn, request.reason, details, request.identity)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return TerminateWorkflowExecutionResponse()


async def reset_sticky_task_queue(
    engine: Engine, request: ResetStickyTaskQueueRequest, metadata: Mapping[str, str]
) -> ResetStickyTaskQueueResponse:
    run = await find_open_run(engine, request.namespace, request.execution)
    run.ex.sticky_queue = ""
    return ResetStickyTaskQueueResponse()


async def update_workflow_execution_options(
    engine: Engine, request: UpdateWorkflowExecutionOptionsRequest, metadata: Mapping[str, str]
) -> UpdateWorkflowExecutionOptionsResponse:
    """Changes the versioning override: moves the run to another definition version, at its next workflow task."""
    paths = list(request.update_mask.paths)
    if paths not in (["versioning_override"], ["time_skipping_config"]):
        raise invalid(
            "perdure's engine updates versioning_override or time_skipping_config: update_mask must be exactly one of them."
        )
    run = await find_open_run(engine, request.namespace, request.workflow_execution)
    options = request.workflow_execution_options
    if paths == ["time_skipping_config"]:
        time_skipping.set_config(engine, run, options, request.identity)
        await engine.journal.durable(run.ticket)
        return UpdateWorkflowExecutionOptionsResponse(workflow_execution_options=options)
    event = WorkflowExecutionOptionsUpdatedEventAttributes(identity=request.identity)
    if options.HasField("versioning_override"):
        _check_override(run.ex, options.versioning_override)
        event.versioning_override.CopyFrom(options.versioning_override)
    else:
        event.unset_versioning_override = True
    move(engine, run, event)
    await engine.journal.durable(run.ticket)
    response = UpdateWorkflowExecutionOptionsResponse(update_time=timestamp(engine.clock.now()))
    response.workflow_execution_options.CopyFrom(options)
    return response


def _check_override(ex: Execution, override: VersioningOverride) -> None:
    version = override.pinned.version
    if version.deployment_name != ex.workflow_type or not version.build_id:
        raise invalid(
            f"versioning_override must pin deployment {ex.workflow_type!r} (the workflow type) and name a version as build_id."
        )


def move(engine: Engine, run: Run, event: WorkflowExecutionOptionsUpdatedEventAttributes) -> None:
    """Writes the event, makes workers forget the run's cached instances, and tries a pending workflow task anew."""
    ex = run.ex
    if ex.task is not None and ex.task.started:
        engine.retry_now(run)
    ex.sticky_queue = ""
    run.moved = engine.processes.newest  # who attends now takes the run again under its next lease only
    turn = engine.turn(run)
    deliver(turn, event)
    turn.changed()
    engine.commit(turn)
    for lease in engine.processes:
        lease.notices.put_nowait(Reload(ex.run_id))


HANDLERS: Handlers = {
    "SignalWorkflowExecution": signal_workflow_execution,
    "RequestCancelWorkflowExecution": request_cancel_workflow_execution,
    "TerminateWorkflowExecution": terminate_workflow_execution,
    "ResetStickyTaskQueue": reset_sticky_task_queue,
    "UpdateWorkflowExecutionOptions": update_workflow_execution_options,
}
