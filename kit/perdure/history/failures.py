"""Why a run ended without a result, in the words of the person who wrote it."""

from __future__ import annotations

from temporalio import exceptions
from temporalio.client import WorkflowFailureError

from perdure.engine.records import RunRecords


def why(error: WorkflowFailureError, records: RunRecords | None) -> str:
    """One line: what failed, on which attempt, with the original message."""
    if isinstance(
        error.cause, exceptions.TimeoutError
    ):  # Temporal calls a workflow's own limit start to close
        return "timed out: its execution or run timeout was over"
    return _words(error.cause, records)


def _words(error: BaseException | None, records: RunRecords | None) -> str:
    match error:
        case exceptions.ActivityError():
            return _activity(error, records)
        case exceptions.ChildWorkflowError():
            return f"child workflow {error.workflow_type} {error.workflow_id}: {_words(error.cause, None)}"
        case exceptions.TimeoutError():
            kind = f" ({error.type.name.lower().replace('_', ' ')})" if error.type is not None else ""
            return f"timed out{kind}"
        case exceptions.CancelledError():
            return "cancelled"
        case exceptions.TerminatedError():
            return f"terminated: {error.message}" if error.message else "terminated"
        case exceptions.ApplicationError():
            return f"{error.type}: {error.message}" if error.type else error.message
        case None:
            return "no failure was recorded"
    return f"{type(error).__name__}: {error}"


def _activity(error: exceptions.ActivityError, records: RunRecords | None) -> str:
    attempt = last_attempt(records, error.scheduled_event_id) if records is not None else 0
    on = f" on attempt {attempt}" if attempt else ""
    cause = error.cause
    if isinstance(cause, exceptions.TimeoutError):
        return f"activity {error.activity_type} {_words(cause, None)}{on}"
    if isinstance(cause, exceptions.CancelledError):
        return f"activity {error.activity_type} was cancelled{on}"
    return f"activity {error.activity_type} failed{on}: {_words(cause, None)}"


def last_attempt(records: RunRecords, scheduled_event_id: int) -> int:
    """The number of an activity's last attempt, 0 if none was ever started."""
    starts = [
        start.attempt for start in records.attempt_starts if start.scheduled_event_id == scheduled_event_id
    ]
    for event in records.events:
        if event.HasField("activity_task_started_event_attributes"):
            held = event.activity_task_started_event_attributes
            if held.scheduled_event_id == scheduled_event_id:
                starts.append(held.attempt)
    return max(starts, default=0)
