"""Updates as callers see them: send one and wait for a stage, or ask how far it got. TEMPORAL.md, section 13."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Link, WorkflowExecution
from temporalio.api.enums.v1 import (
    EventType,
    UpdateWorkflowExecutionLifecycleStage,
)
from temporalio.api.errordetails.v1 import (
    PermissionDeniedFailure,
    WorkflowNotReadyFailure,
)
from temporalio.api.update.v1 import Request, UpdateRef
from temporalio.api.workflowservice.v1 import (
    PollWorkflowExecutionUpdateRequest,
    PollWorkflowExecutionUpdateResponse,
    UpdateWorkflowExecutionRequest,
    UpdateWorkflowExecutionResponse,
)

from perdure.engine.checks import check_callbacks, check_length
from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.protos import SECOND
from perdure.engine.rpc import links
from perdure.engine.rpc.common import Handlers, check_chain, find_run
from perdure.engine.runs import Run
from perdure.engine.state import Execution, Update, UpdateStage
from perdure.engine.updates import aborted, admit

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_Stage = UpdateWorkflowExecutionLifecycleStage
_ACCEPTED = _Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
_STAGES = {
    UpdateStage.ADMITTED: _Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED,
    UpdateStage.SENT: _Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED,
    UpdateStage.ACCEPTED: _ACCEPTED,
    UpdateStage.COMPLETED: _Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
    UpdateStage.REJECTED: _Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
}


def check_update(engine: Engine, request: UpdateWorkflowExecutionRequest) -> None:
    """Raises for an update that the server would refuse; gives one without an id an id."""
    if not request.request.HasField("meta"):
        raise invalid("Update meta is not set on request.")
    check_length("UpdateId", request.request.meta.update_id, engine.limits)
    if not request.request.HasField("input"):
        raise invalid("Update input is not set on request.")
    if not request.request.input.name:
        raise invalid("Update name is not set on request.")
    if request.request.completion_callbacks and not request.request.request_id:
        raise invalid("invalid *update.Request: request_id is required when completion_callbacks are set")
    check_callbacks(request.request.completion_callbacks)
    if request.wait_policy.lifecycle_stage == _Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED:
        raise ServiceError(
            Code.PERMISSION_DENIED,
            "UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported.",
            PermissionDeniedFailure(),
        )
    request.request.meta.update_id = request.request.meta.update_id or engine.new_id()


async def update_workflow_execution(
    engine: Engine, request: UpdateWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> UpdateWorkflowExecutionResponse:
    check_update(engine, request)
    run = await find_run(engine, request.namespace, request.workflow_execution)
    check_chain(run, request.first_execution_run_id)
    update, _ = admit_to(engine, run, request.request)
    return await wait(engine, run, update, request.wait_policy.lifecycle_stage)


def admit_to(engine: Engine, run: Run, request: Request) -> tuple[Update, int]:
    """Admits an update to a run, or finds the one of that id. Refuses while the run is paused, or its workflow task keeps failing."""
    if run.ex.paused is not None and run.ex.open:
        raise ServiceError(Code.FAILED_PRECONDITION, "Workflow is paused. Cannot update the workflow.")
    if run.ex.open and run.ex.attempt >= engine.limits.not_ready:
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            "Unable to perform workflow execution update due to Workflow Task in failed state.",
            WorkflowNotReadyFailure(),
        )
    turn = engine.turn(run)
    update = admit(turn, request)
    return update, engine.commit(turn)


async def wait(engine: Engine, run: Run, update: Update, stage: int) -> UpdateWorkflowExecutionResponse:
    """Waits until the update reaches `stage` (at the longest 20 s), and tells how far it is."""
    await _reach(engine, run, update, stage or _ACCEPTED)
    await engine.journal.durable(run.ticket)
    return UpdateWorkflowExecutionResponse(
        update_ref=UpdateRef(
            workflow_execution=WorkflowExecution(workflow_id=run.ex.workflow_id, run_id=run.ex.run_id),
            update_id=update.update_id,
        ),
        outcome=update.outcome,
        stage=_STAGES[update.stage],
        link=_link(run.ex, update),
    )


def _link(ex: Execution, update: Update) -> Link | None:
    failed = update.outcome is not None and update.outcome.HasField("failure")
    if update.stage is UpdateStage.REJECTED or failed:
        return links.to_workflow(ex, "Update rejected")
    if update.stage in (UpdateStage.ACCEPTED, UpdateStage.COMPLETED):
        request_id = update.request.request_id if update.request is not None else ""
        return links.to_request(ex, request_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
    return None


async def _reach(engine: Engine, run: Run, update: Update, stage: int) -> None:
    end = engine.clock.now() + engine.limits.long_poll
    while True:
        if update.abort is not None:
            raise aborted(update.abort)
        if _STAGES[update.stage] >= stage:
            return
        remaining = end - engine.clock.now()
        if remaining <= 0 or not await run.change(remaining / SECOND):
            return


async def poll_workflow_execution_update(
    engine: Engine, request: PollWorkflowExecutionUpdateRequest, metadata: Mapping[str, str]
) -> PollWorkflowExecutionUpdateResponse:
    run = await find_run(engine, request.namespace, request.update_ref.workflow_execution)
    update = run.ex.updates.get(request.update_ref.update_id)
    if update is None:
        raise not_found(f'update "{request.update_ref.update_id}" not found')
    await _reach(engine, run, update, request.wait_policy.lifecycle_stage)
    await engine.journal.durable(run.ticket)
    response = PollWorkflowExecutionUpdateResponse(
        outcome=update.outcome, stage=_STAGES[update.stage], update_ref=request.update_ref
    )
    response.update_ref.workflow_execution.run_id = run.ex.run_id
    return response


HANDLERS: Handlers = {
    "UpdateWorkflowExecution": update_workflow_execution,
    "PollWorkflowExecutionUpdate": poll_workflow_execution_update,
}
