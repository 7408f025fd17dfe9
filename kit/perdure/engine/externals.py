"""What one run does to another: children, signals, cancellation, and the news that come back. TEMPORAL.md, section 10."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Link, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    EventType,
    SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause,
)
from temporalio.api.history.v1 import (
    ChildWorkflowExecutionCanceledEventAttributes,
    ChildWorkflowExecutionCompletedEventAttributes,
    ChildWorkflowExecutionFailedEventAttributes,
    ChildWorkflowExecutionStartedEventAttributes,
    ChildWorkflowExecutionTerminatedEventAttributes,
    ChildWorkflowExecutionTimedOutEventAttributes,
    ExternalWorkflowExecutionCancelRequestedEventAttributes,
    ExternalWorkflowExecutionSignaledEventAttributes,
    RequestCancelExternalWorkflowExecutionFailedEventAttributes,
    RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionFailedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes,
    StartChildWorkflowExecutionFailedEventAttributes,
    WorkflowExecutionCancelRequestedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
)

from perdure.engine.bounds import too_many_signals
from perdure.engine.errors import invalid
from perdure.engine.limits import Limits
from perdure.engine.state import Child, Execution
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import deliver


def signal(
    turn: Turn, attributes: WorkflowExecutionSignaledEventAttributes, links: Iterable[Link] = ()
) -> None:
    """A signal arrives; one with a request id that was seen already is dropped."""
    if attributes.request_id and attributes.request_id in turn.ex.signal_requests:
        return
    deliver(turn, turn.event(attributes, links=links))


def check_signals(ex: Execution, limits: Limits) -> None:
    """Raises INVALID_ARGUMENT when the run has had all the signals that it may have."""
    if too_many_signals(ex, limits):
        raise invalid("exceeded workflow execution limit for signal events")


def request_cancel(
    turn: Turn, attributes: WorkflowExecutionCancelRequestedEventAttributes, links: Iterable[Link] = ()
) -> None:
    """Cancellation is requested once; later requests change nothing."""
    if not turn.ex.cancel_requested:
        turn.ex.cancel_requested = True  # at once, also while the event waits in the buffer
        turn.ex.first_task_time = 0  # a run that waits for its first task hears of it now
        deliver(turn, turn.event(attributes, links=links))


# --- what the parent hears


def child_started(turn: Turn, child: Child, run_id: str) -> None:
    deliver(
        turn,
        ChildWorkflowExecutionStartedEventAttributes(
            namespace=child.attributes.namespace,
            namespace_id=child.attributes.namespace_id,
            initiated_event_id=child.initiated_id,
            workflow_execution=WorkflowExecution(workflow_id=child.attributes.workflow_id, run_id=run_id),
            workflow_type=child.attributes.workflow_type,
            header=child.attributes.header if child.attributes.HasField("header") else None,
        ),
    )


def child_start_failed(turn: Turn, child: Child) -> None:
    deliver(
        turn,
        StartChildWorkflowExecutionFailedEventAttributes(
            namespace=child.attributes.namespace,
            namespace_id=child.attributes.namespace_id,
            workflow_id=child.attributes.workflow_id,
            workflow_type=child.attributes.workflow_type,
            cause=StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS,
            control=child.attributes.control,
            initiated_event_id=child.initiated_id,
        ),
    )


def child_closed(turn: Turn, child: Execution) -> None:
    """The last run of a child's chain closed: its parent gets the matching event. `turn` is the parent's."""
    initiated_id = child.started.parent_initiated_event_id
    pending = turn.ex.children.get(initiated_id)
    if pending is None:
        return
    event = _closing_event(child)
    event.namespace = child.namespace  # type: ignore[attr-defined]
    event.namespace_id = pending.attributes.namespace_id  # type: ignore[attr-defined]
    event.workflow_execution.CopyFrom(  # type: ignore[attr-defined]
        WorkflowExecution(workflow_id=child.workflow_id, run_id=child.run_id)
    )
    event.workflow_type.CopyFrom(WorkflowType(name=child.workflow_type))  # type: ignore[attr-defined]
    event.initiated_event_id = initiated_id  # type: ignore[attr-defined]
    event.started_event_id = pending.started_id  # type: ignore[attr-defined]
    deliver(turn, event)


def _closing_event(child: Execution) -> Message:
    last = child.events[-1]
    match last.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            completed = last.workflow_execution_completed_event_attributes
            return ChildWorkflowExecutionCompletedEventAttributes(
                result=completed.result if completed.HasField("result") else None
            )
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            failed = last.workflow_execution_failed_event_attributes
            return ChildWorkflowExecutionFailedEventAttributes(
                failure=failed.failure, retry_state=failed.retry_state
            )
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            canceled = last.workflow_execution_canceled_event_attributes
            return ChildWorkflowExecutionCanceledEventAttributes(
                details=canceled.details if canceled.HasField("details") else None
            )
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            timed_out = last.workflow_execution_timed_out_event_attributes
            return ChildWorkflowExecutionTimedOutEventAttributes(retry_state=timed_out.retry_state)
        case _:
            return ChildWorkflowExecutionTerminatedEventAttributes()


# --- signals and cancels to other executions: the sender's side


def signal_outcome(
    turn: Turn, initiated_id: int, failed: SignalExternalWorkflowExecutionFailedCause.ValueType | None
) -> None:
    attributes = turn.ex.signals_out[initiated_id]
    fields = _outcome(turn, initiated_id, attributes) | {"control": attributes.control}
    if failed is None:
        deliver(turn, ExternalWorkflowExecutionSignaledEventAttributes(**fields))
    else:
        deliver(turn, SignalExternalWorkflowExecutionFailedEventAttributes(cause=failed, **fields))


def cancel_outcome(
    turn: Turn, initiated_id: int, failed: CancelExternalWorkflowExecutionFailedCause.ValueType | None
) -> None:
    fields = _outcome(turn, initiated_id, turn.ex.cancels_out[initiated_id])
    if failed is None:
        deliver(turn, ExternalWorkflowExecutionCancelRequestedEventAttributes(**fields))
    else:
        deliver(turn, RequestCancelExternalWorkflowExecutionFailedEventAttributes(cause=failed, **fields))


def _outcome(
    turn: Turn,
    initiated_id: int,
    attributes: SignalExternalWorkflowExecutionInitiatedEventAttributes
    | RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
) -> dict[str, Any]:
    """What every event says that tells the sender how it went."""
    return {
        "initiated_event_id": initiated_id,
        "namespace": attributes.namespace or turn.ex.namespace,
        "namespace_id": attributes.namespace_id,
        "workflow_execution": attributes.workflow_execution,
    }
