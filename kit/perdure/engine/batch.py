"""Batch operations: one operation on many runs. TEMPORAL.md, sections 1.5 and 22. Pure: what a job is.
`batch_requests` says what it asks for each run.

A job has two kept documents: what was asked, with the runs that it is about (`JOB`), and how far it is (`PROGRESS`), so that an engine
that starts again goes on behind the last progress. What it may then ask a second time carries the same request id, or is done already.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.api.common.v1 import Execution
from temporalio.api.enums.v1 import (
    BatchOperationState,
    BatchOperationType,
    ExecutionType,
    ResetType,
)
from temporalio.api.workflowservice.v1 import StartBatchOperationRequest

from perdure.engine.errors import invalid
from perdure.engine.protos import timestamp

JOB: Final = "batch"
PROGRESS: Final = "batch-progress"

_Type = BatchOperationType
_State = BatchOperationState
TYPES: Final = {
    "termination_operation": _Type.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW,
    "signal_operation": _Type.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW,
    "cancellation_operation": _Type.BATCH_OPERATION_TYPE_CANCEL_WORKFLOW,
    "deletion_operation": _Type.BATCH_OPERATION_TYPE_DELETE_WORKFLOW,
    "reset_operation": _Type.BATCH_OPERATION_TYPE_RESET_WORKFLOW,
    "update_workflow_options_operation": _Type.BATCH_OPERATION_TYPE_UPDATE_WORKFLOW_EXECUTION_OPTIONS,
    "unpause_activities_operation": _Type.BATCH_OPERATION_TYPE_UNPAUSE_ACTIVITY,
    "reset_activities_operation": _Type.BATCH_OPERATION_TYPE_RESET_ACTIVITY,
    "update_activity_options_operation": _Type.BATCH_OPERATION_TYPE_UPDATE_ACTIVITY_OPTIONS,
    "cancel_activities_operation": _Type.BATCH_OPERATION_TYPE_CANCEL_ACTIVITY,
    "terminate_activities_operation": _Type.BATCH_OPERATION_TYPE_TERMINATE_ACTIVITY,
    "delete_activities_operation": _Type.BATCH_OPERATION_TYPE_DELETE_ACTIVITY,
}
OF_ACTIVITIES: Final = frozenset(
    ("cancel_activities_operation", "terminate_activities_operation", "delete_activities_operation")
)
_OF_CLOSED_TOO: Final = frozenset(("deletion_operation", "reset_operation", "delete_activities_operation"))
_OPEN: Final = "ExecutionStatus = 'Running' OR ExecutionStatus = 'Paused'"
_EITHER: Final = "Either activity type must be set, or match all should be set to true"


@dataclass(slots=True)
class Job:
    """A batch operation. `targets`: (workflow or activity id, run id) of what it is about; "" means the current run."""

    request: StartBatchOperationRequest
    run_id: str
    start_time: int
    targets: list[tuple[str, str]] = field(default_factory=list)
    listed: bool = False  # the targets are known
    done: int = 0  # of the targets, in their order
    failed: int = 0
    state: BatchOperationState.ValueType = _State.BATCH_OPERATION_STATE_RUNNING
    close_time: int = 0

    @property
    def operation(self) -> str:
        return self.request.WhichOneof("operation") or ""

    @property
    def running(self) -> bool:
        return self.state == _State.BATCH_OPERATION_STATE_RUNNING

    @property
    def identity(self) -> str:
        return str(getattr(getattr(self.request, self.operation), "identity", ""))

    def document(self) -> bytes:
        request = base64.b64encode(self.request.SerializeToString()).decode()
        body = {"request": request, "run": self.run_id, "start": self.start_time}
        return json.dumps({**body, "targets": self.targets, "listed": self.listed}).encode()

    def progress(self) -> bytes:
        body = {"done": self.done, "failed": self.failed, "state": int(self.state), "close": self.close_time}
        return json.dumps(body).encode()

    def close(self, state: BatchOperationState.ValueType, now: int) -> None:
        self.state, self.close_time = state, now


def read(document: bytes, progress: bytes | None) -> Job:
    """A job from its documents."""
    body: dict[str, Any] = json.loads(document)
    request = StartBatchOperationRequest.FromString(base64.b64decode(body["request"]))
    targets = [(str(id), str(run_id)) for id, run_id in body["targets"]]
    job = Job(request, body["run"], body["start"], targets, body["listed"])
    if progress is not None:
        now = json.loads(progress)
        job.done, job.failed = now["done"], now["failed"]
        job.state, job.close_time = BatchOperationState.ValueType(now["state"]), now["close"]
    return job


# --- the request


def check(request: StartBatchOperationRequest) -> None:
    """Raises INVALID_ARGUMENT, with the server's texts."""
    operation = request.WhichOneof("operation")
    selectors = [bool(request.visibility_query), bool(request.executions), bool(request.target_executions)]
    if operation is None or not request.reason or not any(selectors):
        raise invalid(
            "must provide required parameters: BatchType,Reason,Namespace, AND one of (Query OR Executions OR TargetExecutions)"
        )
    if not request.job_id:
        raise invalid("JobId is not set on request.")
    if sum(selectors) > 1:
        raise invalid("visibility query, executions, and target executions are mutually exclusive")
    _check_targets(request, operation)
    if test := _CHECKS.get(operation):
        test(getattr(request, operation))


def _check_targets(request: StartBatchOperationRequest, operation: str) -> None:
    wanted = _target_type(operation)
    for index, execution in enumerate(request.target_executions):
        if execution.type != wanted:
            names = [
                ExecutionType.Name(kind).removeprefix("EXECUTION_TYPE_").capitalize()
                for kind in (execution.type, wanted)
            ]
            camel = "".join(word.capitalize() for word in operation.split("_"))
            raise invalid(
                f"target_executions[{index}] has type {names[0]}, but operation "
                f"*workflowservice.StartBatchOperationRequest_{camel} requires {names[1]}"
            )


def _check_signal(operation: Any) -> None:
    if not operation.signal:
        raise invalid("must provide signal name")


def _check_options(operation: Any) -> None:
    if not operation.HasField("workflow_execution_options"):
        raise invalid("must provide UpdateOptions")
    if not operation.HasField("update_mask"):
        raise invalid("must provide UpdateMask")


def _check_reset(operation: Any) -> None:
    if operation.HasField("options"):
        if operation.options.WhichOneof("target") is None:
            raise invalid("batch reset missing target")
    elif operation.reset_type not in (
        ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK,
        ResetType.RESET_TYPE_LAST_WORKFLOW_TASK,
    ):
        named = operation.reset_type in ResetType.values()
        raise invalid(f"unknown batch reset type {'Unspecified' if named else operation.reset_type}")


def _check_which(operation: Any) -> None:
    if (operation.WhichOneof("activity") == "type" and not operation.type) or (
        operation.WhichOneof("activity") == "match_all" and not operation.match_all
    ):
        raise invalid(_EITHER)


def _check_unpause(operation: Any) -> None:
    if operation.WhichOneof("activity") is None:
        raise invalid("activity filter must be set")
    _check_which(operation)


def _check_reset_activities(operation: Any) -> None:
    if operation.WhichOneof("activity") is None:
        raise invalid("must provide ActivityType or MatchAll")
    _check_which(operation)


def _check_activity_options(operation: Any) -> None:
    if operation.HasField("activity_options") and operation.restore_original:
        raise invalid("cannot set both activity options and restore original")
    if not operation.HasField("activity_options") and not operation.restore_original:
        raise invalid("Either activity type must be set, or restore original should be set to true")
    _check_which(operation)


_CHECKS: Final = {
    "signal_operation": _check_signal,
    "update_workflow_options_operation": _check_options,
    "reset_operation": _check_reset,
    "unpause_activities_operation": _check_unpause,
    "reset_activities_operation": _check_reset_activities,
    "update_activity_options_operation": _check_activity_options,
}


def _target_type(operation: str) -> ExecutionType.ValueType:
    activities = operation in OF_ACTIVITIES
    return ExecutionType.EXECUTION_TYPE_ACTIVITY if activities else ExecutionType.EXECUTION_TYPE_WORKFLOW


def given_targets(request: StartBatchOperationRequest) -> list[tuple[str, str]]:
    """The executions that the request names itself."""
    if request.target_executions:
        return [(each.business_id, each.run_id) for each in request.target_executions]
    return [(each.workflow_id, each.run_id) for each in request.executions]


def query_of(request: StartBatchOperationRequest) -> str:
    """The list filter of the runs that are meant: most operations are for open ones only."""
    if request.WhichOneof("operation") in _OF_CLOSED_TOO:
        return request.visibility_query
    return f"({request.visibility_query}) AND ({_OPEN})"


def describe(job: Job) -> dict[str, Any]:
    """What DescribeBatchOperation says of a job."""
    request = job.request
    kind = _target_type(job.operation)
    return {
        "operation_type": TYPES[job.operation],
        "job_id": request.job_id,
        "state": job.state,
        "start_time": timestamp(job.start_time),
        "close_time": timestamp(job.close_time) if job.close_time else None,
        "total_operation_count": len(job.targets),
        "complete_operation_count": job.done - job.failed,
        "failure_operation_count": job.failed,
        "identity": job.identity,
        "reason": request.reason,
        "query": request.visibility_query,
        "executions": [
            Execution(type=kind, business_id=id, run_id=run_id) for id, run_id in given_targets(request)
        ],
    }
