"""Reset: a new run that goes on from a point of another's history. TEMPORAL.md, section 15.

The new run's history is a copy up to the point, and a failed workflow task that says where it comes from; from there the code
runs again. What came from outside after the point (signals, updates, children's ends) is applied again. The current run, if
it is open, is terminated in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from google.protobuf.message import Message
from temporalio.api.enums.v1 import (
    EventType,
    ResetReapplyExcludeType,
    ResetReapplyType,
    UpdateAdmittedEventOrigin,
    WorkflowTaskFailedCause,
)
from temporalio.api.failure.v1 import Failure, ResetWorkflowFailureInfo
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionUpdateAdmittedEventAttributes,
    WorkflowTaskFailedEventAttributes,
    WorkflowTaskStartedEventAttributes,
)

from perdure.engine import activities
from perdure.engine.closing import terminate_run
from perdure.engine.errors import invalid
from perdure.engine.limits import Limits
from perdure.engine.protos import attributes_of
from perdure.engine.records import ExecutionReset
from perdure.engine.starting import start_record
from perdure.engine.state import Execution
from perdure.engine.turn import CancelExternal, SignalExternal, StartChild, Turn
from perdure.engine.workflow_tasks import schedule_task

SERVICE = "history-service"
RESETTER = "history-resetter"

_Type = EventType
_CHILD_NEWS = frozenset(
    (
        _Type.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED,
        _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED,
        _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
        _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
    )
)


def excluded(types: Iterable[int], reapply: int) -> frozenset[int]:
    """What is not applied again; the older field that says what *is* applied counts, too."""
    signal = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL
    update = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE
    left_out = set(types)
    if reapply == ResetReapplyType.RESET_REAPPLY_TYPE_SIGNAL:
        left_out.add(update)
    elif reapply == ResetReapplyType.RESET_REAPPLY_TYPE_NONE:
        left_out |= {signal, update}
    return frozenset(left_out)


def check_point(base: Execution, event_id: int) -> None:
    """Raises INVALID_ARGUMENT when a run cannot be reset to an event."""
    if not 1 < event_id <= len(base.events):
        raise invalid("Workflow task finish ID must be > 1 && <= workflow last event ID.")
    if _one_step(base.events[event_id - 2], base.events[event_id - 1]):
        raise invalid(
            f"StateRebuilder unable to Rebuild mutable state to event ID: {event_id - 1}, version: 0, "
            "this event must be at the boundary"
        )
    if not _task_pending(base.events[: event_id - 1]):
        raise invalid(
            "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: "
            f"{event_id}"
        )


def _one_step(before: HistoryEvent, event: HistoryEvent) -> bool:
    """Whether two events are written together, so that nothing can go on from between them."""
    if event.event_type == _Type.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
        return True
    completed = getattr(attributes_of(event), "workflow_task_completed_event_id", 0)
    if completed and completed in (
        before.event_id,
        getattr(attributes_of(before), "workflow_task_completed_event_id", 0),
    ):
        return True
    return before.event_type == _Type.EVENT_TYPE_ACTIVITY_TASK_STARTED


def _task_pending(events: Sequence[HistoryEvent]) -> bool:
    """Whether a workflow task is scheduled at the end of these events."""
    for event in reversed(events):
        if event.event_type == _Type.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            return True
        if event.event_type in (
            _Type.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
            _Type.EVENT_TYPE_WORKFLOW_TASK_FAILED,
            _Type.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        ):
            return False
    return False


def reset(
    base: Execution,
    current: Turn | None,
    followers: Sequence[Execution],
    event_id: int,
    reason: str,
    exclude: frozenset[int],
    run_id: str,
    now: int,
    limits: Limits,
    then: Callable[[Turn], None],
) -> Turn:
    """The new run; `check_point` has passed.

    Args:
        base: the run whose history is gone on from.
        current: a turn of the workflow id's current run if that is open (it may be `base`): it is terminated.
        followers: the runs that continued `base` as new, oldest first.
        run_id: of the new run.
        then: operations on the new run before its workflow task is scheduled.
    """
    turn = _copy(base, event_id, run_id, now, limits)
    _fail_task(turn, base, reason)
    if current is not None:
        terminate_run(current, reason, None, RESETTER, by_reset=True)
    if not _everything(exclude):
        for execution in (base, *followers):
            after = event_id - 1 if execution is base else 0
            for event in execution.events[after:]:
                _apply_again(turn, event, exclude)
    then(turn)
    _resume(turn)
    base.reset_run_id = run_id
    turn.records.append(ExecutionReset(base.run_id, now, run_id))
    return turn


def _copy(base: Execution, event_id: int, run_id: str, now: int, limits: Limits) -> Turn:
    """A new run with the events before `event_id`, which are shared: nobody changes an event that is in a history."""
    ex = Execution(
        base.namespace,
        base.workflow_id,
        run_id,
        base.started,
        now,
        division=base.division,
        start_request_id=base.start_request_id,
    )
    turn = Turn(ex, now, limits)
    for event in base.events[: event_id - 1]:
        turn.append(event)
    turn.now += ex.skipped
    return turn


def _fail_task(turn: Turn, base: Execution, reason: str) -> None:
    """The workflow task at the point fails, and so the code runs from there again."""
    ex = turn.ex
    task = ex.task
    assert task is not None
    if not task.started:
        turn.add(
            WorkflowTaskStartedEventAttributes(
                scheduled_event_id=task.scheduled_id,
                identity=SERVICE,
                request_id="emptyUuid",
                history_size_bytes=ex.history_size,
            )
        )
    turn.add(
        WorkflowTaskFailedEventAttributes(
            scheduled_event_id=task.scheduled_id,
            started_event_id=task.started_id,
            cause=WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
            failure=Failure(message=reason, reset_workflow_failure_info=ResetWorkflowFailureInfo()),
            identity=SERVICE,
            base_run_id=base.run_id,
            new_run_id=ex.run_id,
        )
    )
    # now the time is known that the list of runs shows as the start
    turn.records.insert(0, start_record(ex))


def _apply_again(turn: Turn, event: HistoryEvent, exclude: frozenset[int]) -> None:
    """What came from outside comes again; requests to cancel or terminate do not, for they were meant for the run that is left."""
    ex = turn.ex
    match event.event_type:
        case _Type.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            if ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL not in exclude:
                signaled = event.workflow_execution_signaled_event_attributes
                again = WorkflowExecutionSignaledEventAttributes()
                again.CopyFrom(signaled)
                again.ClearField("external_workflow_execution")
                _add(turn, again, event)
        case _Type.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
            admitted = event.workflow_execution_update_admitted_event_attributes
            _admit_again(turn, admitted, exclude)
        case _Type.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            accepted = event.workflow_execution_update_accepted_event_attributes
            if accepted.HasField("accepted_request"):  # else an event before this one admitted it
                admitted = WorkflowExecutionUpdateAdmittedEventAttributes(
                    request=accepted.accepted_request,
                    origin=UpdateAdmittedEventOrigin.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY,
                )
                _admit_again(turn, admitted, exclude)
        case _Type.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
            options = event.workflow_execution_options_updated_event_attributes
            known = (ex.start_request_id, *ex.attached_request_ids)
            if not (options.attached_completion_callbacks and options.attached_request_id in known):
                _add(turn, options, event)
        case kind if kind in _CHILD_NEWS:
            _reconnect(turn, event)


def _everything(exclude: frozenset[int]) -> bool:
    return exclude >= {number for number in ResetReapplyExcludeType.values() if number}


def _admit_again(
    turn: Turn, attributes: WorkflowExecutionUpdateAdmittedEventAttributes, exclude: frozenset[int]
) -> None:
    if ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE not in exclude:
        turn.add(attributes)


def _reconnect(turn: Turn, event: HistoryEvent) -> None:
    """News of a child that was initiated before the point."""
    attributes = attributes_of(event)
    child = turn.ex.children.get(attributes.initiated_event_id)  # type: ignore[attr-defined]
    if child is None:
        return
    if event.event_type == _Type.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED and child.started_id:
        return
    again = type(attributes)()
    again.CopyFrom(attributes)
    if hasattr(again, "started_event_id"):
        again.started_event_id = child.started_id
    _add(turn, again, event)


def _add(turn: Turn, attributes: Message, like: HistoryEvent) -> None:
    event = turn.event(attributes)
    event.links.extend(like.links)
    turn.append(event)


def _resume(turn: Turn) -> None:
    """The workflow task that runs the code again, and all else that the copied state waits for."""
    ex = turn.ex
    for activity in ex.activities.values():
        activities.offer(turn, activity)
    turn.effects += [StartChild(child.initiated_id) for child in ex.children.values() if not child.started_id]
    turn.effects += [SignalExternal(initiated_id) for initiated_id in ex.signals_out]
    turn.effects += [CancelExternal(initiated_id) for initiated_id in ex.cancels_out]
    turn.changed()
    schedule_task(turn)
