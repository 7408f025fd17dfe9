"""Updates: admitted in memory, carried to the workflow as messages, accepted and completed as events. TEMPORAL.md, section 13."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.any_pb2 import Any
from temporalio.api.enums.v1 import ResourceExhaustedCause, ResourceExhaustedScope
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.api.history.v1 import (
    WorkflowExecutionUpdateAcceptedEventAttributes,
    WorkflowExecutionUpdateCompletedEventAttributes,
)
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Meta, Outcome, Rejection, Request, Response

from perdure.engine.errors import Code, ServiceError, not_found
from perdure.engine.failures import application
from perdure.engine.limits import Limits
from perdure.engine.state import Execution, Update, UpdateStage, WorkflowTask
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_task


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
    _check_limits(ex, turn.limits)
    update = Update(update_id, UpdateStage.ADMITTED, request, order=len(ex.updates))
    ex.updates[update_id] = update
    if ex.first_task_time == 0 or ex.task is not None:
        schedule_task(turn, speculative=True)
    return update


def _check_limits(ex: Execution, limits: Limits) -> None:
    in_flight = sum(u.outcome is None for u in ex.updates.values())
    if in_flight >= limits.updates_in_flight:
        raise ServiceError(
            Code.RESOURCE_EXHAUSTED,
            f"limit on number of concurrent in-flight updates has been reached ({limits.updates_in_flight})",
            ResourceExhaustedFailure(
                cause=ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
                scope=ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE,
            ),
        )
    if len(ex.updates) >= limits.updates_total:
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            f"limit on number of total updates has been reached ({limits.updates_total})",
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


def abort(ex: Execution) -> None:
    """The run is closed: accepted updates end with a failure. Admitted ones end with an error to who waits."""
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
