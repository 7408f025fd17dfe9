"""Updates: admitted in memory, carried to the workflow as messages, accepted and completed as events. TEMPORAL.md, section 13."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.any_pb2 import Any
from temporalio.api.enums.v1 import ResourceExhaustedCause, ResourceExhaustedScope
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure, WorkflowNotReadyFailure
from temporalio.api.history.v1 import (
    WorkflowExecutionUpdateAcceptedEventAttributes,
    WorkflowExecutionUpdateCompletedEventAttributes,
)
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Meta, Outcome, Rejection, Request, Response

from perdure.engine.errors import Code, ServiceError, not_found
from perdure.engine.failures import application
from perdure.engine.limits import Limits
from perdure.engine.state import Execution, Update, UpdateAbort, UpdateStage, WorkflowTask
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_task

ABORTED = "workflow update was aborted by closing workflow"


def admit(turn: Turn, request: Request) -> Update:
    """Takes an update in, and sees that a workflow task will carry it. The same id again is the same update.

    Raises:
        ServiceError: RESOURCE_EXHAUSTED over the limits, NOT_FOUND when the run is closed.
    """
    ex = turn.ex
    update_id = request.meta.update_id
    if known := ex.updates.get(update_id):
        return known
    if not ex.open:
        raise not_found("workflow execution already completed")
    check_not_closing(ex)
    _check_limits(ex, request, turn.limits)
    update = Update(update_id, UpdateStage.ADMITTED, request, order=len(ex.updates))
    ex.updates[update_id] = update
    if ex.first_task_time == 0 or ex.task is not None:
        schedule_task(turn, speculative=True)
    return update


def _check_limits(ex: Execution, request: Request, limits: Limits) -> None:
    in_flight = [u for u in ex.updates.values() if u.outcome is None]
    if len(in_flight) >= limits.updates_in_flight:
        raise _exhausted(
            ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
            f"limit on number of concurrent in-flight updates has been reached ({limits.updates_in_flight})",
        )
    if len(ex.updates) >= limits.updates_total:
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            "The limit on the total number of distinct updates in this workflow has been reached "
            f"({limits.updates_total}). Make sure any duplicate updates share an Update ID so the server can "
            "deduplicate them, and consider rejecting updates that you aren't going to process. You can also "
            "Continue-as-New to avoid this; we recommend you check Continue-as-New Suggested in your Workflow.",
        )
    waiting = sum(
        len(u.update_id) + (u.request.ByteSize() if u.request is not None else 0) for u in in_flight
    )
    if waiting + request.ByteSize() >= limits.updates_in_flight_bytes:
        raise _exhausted(
            ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
            "limit on total payload size of in-flight updates has been reached "
            f"({limits.updates_in_flight_bytes} bytes)",
        )


def check_not_closing(ex: Execution) -> None:
    """A run that has seen what kept it from closing may close now: new events must wait."""
    if ex.close_attempted and ex.task is not None and ex.task.started:
        raise closing()


def closing() -> ServiceError:
    """What callers get of a run that is about to close, or goes on in another run: they try again."""
    return _exhausted(
        ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW,
        "workflow operation can not be applied because workflow is closing",
    )


def _exhausted(cause: ResourceExhaustedCause.ValueType, text: str) -> ServiceError:
    scope = ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE
    return ServiceError(Code.RESOURCE_EXHAUSTED, text, ResourceExhaustedFailure(cause=cause, scope=scope))


def aborted(abort: UpdateAbort) -> ServiceError:
    """What who waits for an aborted update gets."""
    match abort:
        case UpdateAbort.CLOSED:
            return not_found(ABORTED)
        case UpdateAbort.CONTINUED:
            return closing()
        case UpdateAbort.TASK_FAILED:
            return ServiceError(
                Code.FAILED_PRECONDITION,
                "Unable to perform workflow execution update due to unexpected workflow task failure.",
                WorkflowNotReadyFailure(),
            )


def outgoing(ex: Execution, task: WorkflowTask) -> list[Message]:
    """The messages that a started task carries: one request for each admitted update, in order of admission."""
    messages = []
    for update in sorted(ex.updates.values(), key=lambda u: u.order):
        if update.stage is UpdateStage.ADMITTED and update.request is not None:
            update.stage = UpdateStage.SENT
            update.sent_task = task.stamp
            if update.admitted_id:  # the workflow finds it in its history
                continue
            body = Any()
            body.Pack(update.request)
            messages.append(
                Message(
                    id=f"{update.update_id}/request",
                    protocol_instance_id=update.update_id,
                    event_id=task.started_id - 1,
                    body=body,
                )
            )
    return messages


def answer(turn: Turn, message: Message) -> None:
    """Applies one message of a completed workflow task."""
    update = turn.ex.updates.get(message.protocol_instance_id)
    body = message.body
    if body.Is(Acceptance.DESCRIPTOR):
        _accept(turn, message, update)
    elif body.Is(Response.DESCRIPTOR):
        _complete(turn, message, update)
    elif body.Is(Rejection.DESCRIPTOR) and update is not None:
        rejection = Rejection()
        body.Unpack(rejection)
        reject(turn.ex, update, Outcome(failure=rejection.failure))


def _accept(turn: Turn, message: Message, update: Update | None) -> None:
    acceptance = Acceptance()
    message.body.Unpack(acceptance)
    request: Request | None = acceptance.accepted_request
    if update is not None and update.admitted_id:
        request = None  # the event that admitted it has it
    elif update is not None and update.request is not None:
        request = update.request
    turn.add(
        WorkflowExecutionUpdateAcceptedEventAttributes(
            protocol_instance_id=message.protocol_instance_id,
            accepted_request_message_id=acceptance.accepted_request_message_id,
            accepted_request_sequencing_event_id=acceptance.accepted_request_sequencing_event_id,
            accepted_request=request,
        )
    )


def _complete(turn: Turn, message: Message, update: Update | None) -> None:
    response = Response()
    message.body.Unpack(response)
    meta = Meta(update_id=message.protocol_instance_id)
    meta.MergeFrom(response.meta)
    turn.add(
        WorkflowExecutionUpdateCompletedEventAttributes(
            meta=meta,
            accepted_event_id=update.accepted_id if update is not None else 0,
            outcome=response.outcome,
        )
    )


def reject(ex: Execution, update: Update, outcome: Outcome) -> None:
    """A rejected update leaves no trace; who waits for it holds the object."""
    update.abort = None
    update.stage = UpdateStage.REJECTED
    update.outcome = outcome
    ex.updates.pop(update.update_id, None)


def reject_unanswered(ex: Execution, stamp: int) -> None:
    """Updates that went out with a task and came back neither accepted nor rejected (an old SDK)."""
    failure = application(
        "Workflow Update is rejected because it wasn't processed by worker. Probably, Workflow Update is not supported by the worker.",
        "UnprocessedUpdate",
        non_retryable=True,
    )
    for update in [u for u in ex.updates.values() if u.stage is UpdateStage.SENT and u.sent_task == stamp]:
        reject(ex, update, Outcome(failure=failure))


def drop_seen(ex: Execution) -> None:
    """After recovery: updates that an event admitted, a completed task carried, and no event accepted were rejected."""
    for update in list(ex.updates.values()):
        if update.stage is UpdateStage.ADMITTED and 0 < update.admitted_id < ex.previous_started_id:
            del ex.updates[update.update_id]


def has_admitted(ex: Execution) -> bool:
    return any(u.stage is UpdateStage.ADMITTED for u in ex.updates.values())


def only_rejections(messages: Iterable[Message]) -> bool:
    return all(m.body.Is(Rejection.DESCRIPTOR) for m in messages)


def resend(ex: Execution, stamp: int) -> None:
    """The task that carried them was a heartbeat: the next one carries them again."""
    for update in ex.updates.values():
        if update.stage is UpdateStage.SENT and update.sent_task == stamp:
            update.stage = UpdateStage.ADMITTED


def fail_sent(ex: Execution) -> None:
    """The task that carried them was answered with nonsense: tried again, they might do the same again."""
    for update in [u for u in ex.updates.values() if u.stage is UpdateStage.SENT]:
        update.abort = UpdateAbort.TASK_FAILED
        del ex.updates[update.update_id]


def abort(ex: Execution) -> None:
    """The run is closed: accepted updates end with a failure, admitted ones with an error to who waits."""
    reason = UpdateAbort.CONTINUED if ex.new_run_id else UpdateAbort.CLOSED
    failure = application(
        "Workflow Update failed because the Workflow completed before the Update completed.",
        "AcceptedUpdateCompletedWorkflow",
        non_retryable=True,
    )
    for update in ex.updates.values():
        if update.stage is UpdateStage.ACCEPTED and update.outcome is None:
            update.outcome = Outcome(failure=failure)
            update.stage = UpdateStage.COMPLETED
            update.aborted = True
        elif update.stage in (UpdateStage.ADMITTED, UpdateStage.SENT):
            update.abort = reason
