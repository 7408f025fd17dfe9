"""What a batch operation asks for each run that it is about: one request of Temporal's API. Pure.

So that a batch does to a run what the single RPC does, with the same checks. See `batch` for the job.
"""

from __future__ import annotations

import uuid
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetType
from temporalio.api.workflowservice.v1 import (
    DeleteActivityExecutionRequest,
    DeleteWorkflowExecutionRequest,
    RequestCancelActivityExecutionRequest,
    RequestCancelWorkflowExecutionRequest,
    ResetActivityRequest,
    ResetWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    TerminateActivityExecutionRequest,
    TerminateWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
    UpdateWorkflowExecutionOptionsRequest,
)

from perdure.engine.batch import Job
from perdure.engine.errors import invalid
from perdure.engine.protos import copy_shared, from_timestamp
from perdure.engine.state import Execution


def request_id(job: Job, *parts: str) -> str:
    """The same for the same target, whenever it is asked."""
    return str(uuid.uuid5(uuid.UUID(int=0), ":".join((job.request.job_id, *parts))))


def ask(job: Job, id: str, run_id: str, ex: Execution | None = None, now: int = 0) -> tuple[str, Message]:
    """The RPC and its request for one target. A reset wants the run itself. Raises ServiceError."""
    operation: Any = getattr(job.request, job.operation)
    base: dict[str, Any] = {"namespace": job.request.namespace, "identity": job.identity}
    execution = WorkflowExecution(workflow_id=id, run_id=run_id)
    reason = job.request.reason
    match job.operation:
        case "termination_operation":
            details = operation.details if operation.HasField("details") else None
            return "TerminateWorkflowExecution", TerminateWorkflowExecutionRequest(
                **base, workflow_execution=execution, reason=reason, details=details
            )
        case "cancellation_operation":
            return "RequestCancelWorkflowExecution", RequestCancelWorkflowExecutionRequest(
                **base, workflow_execution=execution, request_id=request_id(job, "cancel", id, run_id)
            )
        case "signal_operation":
            return "SignalWorkflowExecution", _signal(job, execution, base)
        case "deletion_operation":
            return "DeleteWorkflowExecution", DeleteWorkflowExecutionRequest(
                namespace=base["namespace"], workflow_execution=execution
            )
        case "reset_operation":
            return "ResetWorkflowExecution", _reset(job, execution, base, ex, now)
        case "update_workflow_options_operation":
            return "UpdateWorkflowExecutionOptions", UpdateWorkflowExecutionOptionsRequest(
                **base,
                workflow_execution=execution,
                workflow_execution_options=operation.workflow_execution_options,
                update_mask=operation.update_mask,
            )
        case operation_name if operation_name in _ON_PENDING_ACTIVITIES:
            return _on_pending_activities(job, execution, base)
        case _:
            return _on_activity(job, id, run_id, base)


def _signal(job: Job, execution: WorkflowExecution, base: dict[str, Any]) -> SignalWorkflowExecutionRequest:
    operation = job.request.signal_operation
    key = (execution.workflow_id, execution.run_id, operation.signal)
    return SignalWorkflowExecutionRequest(
        **base,
        workflow_execution=execution,
        signal_name=operation.signal,
        input=operation.input if operation.HasField("input") else None,
        header=operation.header if operation.HasField("header") else None,
        request_id=request_id(job, "signal", *key),
    )


def _reset(
    job: Job, execution: WorkflowExecution, base: dict[str, Any], ex: Execution | None, now: int
) -> ResetWorkflowExecutionRequest:
    assert ex is not None
    operation = job.request.reset_operation
    options = operation.options
    run_id, point = _reset_point(job, ex, now)
    request = ResetWorkflowExecutionRequest(
        **base,
        workflow_execution=WorkflowExecution(workflow_id=ex.workflow_id, run_id=run_id),
        reason=job.request.reason,
        request_id=request_id(job, "reset", execution.workflow_id, execution.run_id),
        workflow_task_finish_event_id=point,
        post_reset_operations=operation.post_reset_operations,
    )
    if operation.HasField("options"):
        request.reset_reapply_type = options.reset_reapply_type
        request.reset_reapply_exclude_types.extend(options.reset_reapply_exclude_types)
    else:
        request.reset_reapply_type = operation.reset_reapply_type
    return request


def _reset_point(job: Job, ex: Execution, now: int) -> tuple[str, int]:
    """The run and the event to reset to: of a completed workflow task, or of one that was at least scheduled."""
    operation = job.request.reset_operation
    match operation.options.WhichOneof("target"):
        case "workflow_task_id":
            return ex.run_id, operation.options.workflow_task_id
        case "build_id":
            return _point_of(ex, operation.options.build_id, operation.options.current_run_only, now)
        case "last_workflow_task":
            last = True
        case "first_workflow_task":
            last = False
        case _:
            last = operation.reset_type == ResetType.RESET_TYPE_LAST_WORKFLOW_TASK
    for event in reversed(ex.events) if last else ex.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            return ex.run_id, event.event_id
    for event in ex.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            return ex.run_id, event.event_id + 1
    raise invalid("unable to find any scheduled or completed task")


def _point_of(ex: Execution, build_id: str, current_run_only: bool, now: int) -> tuple[str, int]:
    """The reset point of a build id."""
    for point in ex.reset_points:
        if point.build_id != build_id:
            continue
        if not point.resettable:
            raise invalid(f"Reset point for {build_id} is not resettable")
        if point.HasField("expire_time") and from_timestamp(point.expire_time) < now:
            raise invalid(f"Reset point for {build_id} is expired")
        if current_run_only and point.run_id != ex.run_id:
            raise invalid(f"Reset point for {build_id} points to previous run and CurrentRunOnly is set")
        return point.run_id, point.first_workflow_task_completed_id
    raise invalid(f"Can't find reset point for {build_id}")


def _on_pending_activities(
    job: Job, execution: WorkflowExecution, base: dict[str, Any]
) -> tuple[str, Message]:
    operation: Any = getattr(job.request, job.operation)
    method, request = _ON_PENDING_ACTIVITIES[job.operation]
    asked: Any = request(**base, execution=execution)
    copy_shared(operation, asked)
    asked.identity = job.identity
    if job.operation == "update_activity_options_operation":
        asked.update_mask.SetInParent()
    if operation.WhichOneof("activity") != "type":
        setattr(asked, "unpause_all" if method == "UnpauseActivity" else "match_all", True)
    return method, asked


_ON_PENDING_ACTIVITIES: dict[str, tuple[str, type[Message]]] = {
    "unpause_activities_operation": ("UnpauseActivity", UnpauseActivityRequest),
    "reset_activities_operation": ("ResetActivity", ResetActivityRequest),
    "update_activity_options_operation": ("UpdateActivityOptions", UpdateActivityOptionsRequest),
}


def _on_activity(job: Job, id: str, run_id: str, base: dict[str, Any]) -> tuple[str, Message]:
    operation: Any = getattr(job.request, job.operation)
    if job.operation == "delete_activities_operation":
        return "DeleteActivityExecution", DeleteActivityExecutionRequest(
            namespace=base["namespace"], activity_id=id, run_id=run_id
        )
    if job.operation == "terminate_activities_operation":
        return "TerminateActivityExecution", TerminateActivityExecutionRequest(
            **base,
            activity_id=id,
            run_id=run_id,
            reason=operation.reason,
            request_id=request_id(job, "terminate-activity", id, run_id),
        )
    return "RequestCancelActivityExecution", RequestCancelActivityExecutionRequest(
        **base,
        activity_id=id,
        run_id=run_id,
        reason=operation.reason,
        request_id=request_id(job, "cancel-activity", id, run_id),
    )
