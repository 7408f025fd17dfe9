"""Update-with-start: a start and an update of the same workflow id, as one operation. TEMPORAL.md, section 13.6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any
from temporalio.api.errordetails.v1 import (
    MultiOperationExecutionFailure,
    NamespaceNotFoundFailure,
)
from temporalio.api.failure.v1 import MultiOperationExecutionAborted
from temporalio.api.workflowservice.v1 import (
    ExecuteMultiOperationRequest,
    ExecuteMultiOperationResponse,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine import starting
from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.protos import from_duration
from perdure.engine.rpc import updating
from perdure.engine.rpc.common import Handlers
from perdure.engine.rpc.start import Start, decide_start, link_to_start, policies_of
from perdure.engine.state import UpdateStage
from perdure.engine.updates import ABORTED, admit

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def execute_multi_operation(
    engine: Engine, request: ExecuteMultiOperationRequest, metadata: Mapping[str, str]
) -> ExecuteMultiOperationResponse:
    """Update-with-start: exactly a start and an update of the same workflow id."""
    operations = request.operations
    if len(operations) != 2 or not (
        operations[0].HasField("start_workflow") and operations[1].HasField("update_workflow")
    ):
        raise invalid("Operations have to be exactly [Start, Update].")
    start_request, update_request = operations[0].start_workflow, operations[1].update_workflow
    for index, check in enumerate((_check_first, _check_second)):
        try:
            check(engine, request)
        except ServiceError as error:
            raise _multi_error(index, error) from None
    return await _start_and_update(engine, start_request, update_request)


def _check_first(engine: Engine, request: ExecuteMultiOperationRequest) -> None:
    """The start of an update-with-start: nothing that would keep the update from being delivered at once."""
    start = request.operations[0].start_workflow
    _check_same_namespace(request.namespace, start.namespace)
    starting.check_start(start, engine.limits)
    policies_of(start)
    if start.cron_schedule:
        raise invalid("CronSchedule is not allowed.")
    if start.request_eager_execution:
        raise invalid("RequestEagerExecution is not supported.")
    if from_duration(start.workflow_start_delay):
        raise invalid("WorkflowStartDelay is not supported.")


def _check_second(engine: Engine, request: ExecuteMultiOperationRequest) -> None:
    """Its update, which means the run of the start."""
    start, update = request.operations[0].start_workflow, request.operations[1].update_workflow
    if update.namespace:
        _check_same_namespace(request.namespace, update.namespace)
    updating.check_update(engine, update)
    if update.workflow_execution.run_id:
        raise invalid("RunId is not allowed.")
    if update.first_execution_run_id:
        raise invalid("FirstExecutionRunId is not allowed.")
    if update.workflow_execution.workflow_id != start.workflow_id:
        raise invalid("WorkflowId is not consistent with previous operation(s).")


def _check_same_namespace(whole: str, part: str) -> None:
    if not part:
        raise not_found(f"Namespace {part} is not found.", NamespaceNotFoundFailure())
    if part != whole:
        raise invalid("Operation namespace did not match request's namespace.")


async def _start_and_update(
    engine: Engine,
    start_request: StartWorkflowExecutionRequest,
    update_request: UpdateWorkflowExecutionRequest,
    *,
    again: bool = False,
) -> ExecuteMultiOperationResponse:
    """Does both. An update that is lost because its run closes is sent once more: to the next run, which it may start."""
    update_id = update_request.request.meta.update_id
    current = await engine.runs.latest(start_request.namespace, start_request.workflow_id)
    known = current.ex.updates.get(update_id) if current is not None else None
    completed = known is not None and known.stage is UpdateStage.COMPLETED and not known.aborted
    same_start = current is not None and start_request.request_id == current.ex.start_request_id
    if current is not None and (completed or (current.ex.open and (known is not None or same_start))):
        start, attached = Start(current.ex.run_id, current.ex.first_run_id, False, current), True
    else:
        attached = False
        try:
            start = await decide_start(engine, start_request)
        except ServiceError as error:
            raise _multi_error(0, error) from None
    run = start.run
    try:
        if run is None:
            turn = start.turns[-1]
            update = admit(turn, update_request.request)
            starting.first_task(turn)
            run = engine.runs.add(turn.ex)
            engine.commit(*start.turns)
        else:
            update, _ = updating.admit_to(engine, run, update_request.request)
        response = await updating.wait(engine, run, update, update_request.wait_policy.lifecycle_stage)
    except ServiceError as error:
        if start.run is None:
            raise _multi_error(1, error, begun=True) from None
        if error.message == ABORTED:
            if not again:
                return await _start_and_update(engine, start_request, update_request, again=True)
            error = ServiceError(Code.ABORTED, error.message)
        raise _multi_error(1, error) from None
    await engine.journal.durable(run.ticket)
    answer = ExecuteMultiOperationResponse()
    begun = answer.responses.add().start_workflow
    begun.run_id, begun.started, begun.status = start.run_id, start.started, run.ex.status  # type: ignore[assignment]
    if start.started:
        begun.first_execution_run_id = start.first_run_id
    if not attached:
        begun.link.CopyFrom(link_to_start(run.ex, start_request))
    if completed:  # it stands where the link of its own answer pointed
        response.ClearField("link")
    answer.responses.add().update_workflow.CopyFrom(response)
    return answer


def _multi_error(failed: int, error: ServiceError, *, begun: bool = False) -> ServiceError:
    """One status for each operation: the failed one's own; for the other ABORTED, or OK if it is a start that was made.

    TEMPORAL.md, section 13.6.
    """
    detail = MultiOperationExecutionFailure()
    for index in range(2):
        status = detail.statuses.add()
        packed = Any()
        if index == failed:
            status.code, status.message = int(error.code), error.message
            if error.detail is not None:
                packed.Pack(error.detail)
                status.details.append(packed)
        elif not begun:
            status.code, status.message = int(Code.ABORTED), "Operation was aborted."
            packed.Pack(MultiOperationExecutionAborted())
            status.details.append(packed)
    return ServiceError(error.code, "Update-with-Start could not be executed.", detail)


HANDLERS: Handlers = {"ExecuteMultiOperation": execute_multi_operation}
