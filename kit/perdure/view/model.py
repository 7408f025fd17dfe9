"""A run's records -> its timeline.

One pass over the history makes a row for each activity, timer, signal, child and so on: one small method for each event type, found by
its number. Then the attempts, which Temporal's history forgets, are put into the activities' rows (`perdure.view.attempts`), the
processes that did the work get their numbers, and the whole is put into a sentence (`perdure.view.verdict`).

Pure: the same records and the same `now` give the same timeline. A history from elsewhere has no attempt records; its rows then
show what the history tells (the last attempt, its number, the failure before it).
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import RunRecords
from perdure.view import elsewhere
from perdure.view.attempts import assign_workers, fill_attempts
from perdure.view.parts import State, Timeline
from perdure.view.reader import Reader
from perdure.view.verdict import judge
from perdure.view.words import nanoseconds

_STATES: dict[int, State] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: State.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: State.FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: State.CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: State.TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: State.CONTINUED_AS_NEW,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: State.TIMED_OUT,
}


def timeline(records: RunRecords, now: int) -> Timeline:
    """The timeline of a run; what is open extends to `now`."""
    reader = Reader(records, now)
    for event in (*records.events, *(buffered.event for buffered in records.buffered)):
        method = _METHODS.get(event.event_type)
        if method is not None:
            method(reader, event, nanoseconds(event.event_time))
    return _finish(reader)


def _finish(reader: Reader) -> Timeline:
    """What can be said only after the last event."""
    line, closed = reader.timeline, reader.records.closed
    if closed is not None:
        line.end = closed.close_time if line.end is None else line.end
        line.state = _STATES.get(closed.status, line.state)
        line.next_run = line.next_run or closed.new_run_id
    line.now = max(line.now, line.end or 0)
    reader.run.state, reader.run.end, reader.run.fault = line.state, line.end, reader.closing_fault
    line.recorded = bool(reader.records.attempt_starts) or not any(row.attempts for row in line.activities)
    fill_attempts(reader.records, reader.by_event, line)
    if line.end is not None:
        for row in line.rows[1:]:
            if row.end is None:
                row.end, row.state = max(line.end, row.start), State.ABANDONED
        for task in line.tasks:
            task.end = line.end if task.end is None else task.end
    assign_workers(reader.records, line, reader.task_identities)
    judge(
        line,
        failing=reader.failing,
        scheduled_task=reader.scheduled_task,
        closing_activity=reader.closing_activity,
    )
    return line


_METHODS: dict[int, Callable[[Reader, HistoryEvent, int], None]] = {
    **dict.fromkeys(elsewhere.CLOSING, elsewhere.closed_elsewhere),
    **{
        EventType.Value(f"EVENT_TYPE_{name}"): method
        for name, method in {
            "WORKFLOW_EXECUTION_STARTED": Reader.started,
            "WORKFLOW_EXECUTION_COMPLETED": Reader.completed,
            "WORKFLOW_EXECUTION_FAILED": Reader.failed,
            "WORKFLOW_EXECUTION_TIMED_OUT": Reader.timed_out,
            "WORKFLOW_EXECUTION_CANCELED": Reader.canceled,
            "WORKFLOW_EXECUTION_TERMINATED": Reader.terminated,
            "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": Reader.continued,
            "WORKFLOW_EXECUTION_PAUSED": Reader.paused,
            "WORKFLOW_EXECUTION_UNPAUSED": Reader.unpaused,
            "WORKFLOW_EXECUTION_OPTIONS_UPDATED": Reader.options_updated,
            "WORKFLOW_EXECUTION_CANCEL_REQUESTED": Reader.cancel_requested,
            "WORKFLOW_TASK_SCHEDULED": Reader.task_scheduled,
            "WORKFLOW_TASK_STARTED": Reader.task_started,
            "WORKFLOW_TASK_COMPLETED": Reader.task_completed,
            "WORKFLOW_TASK_FAILED": Reader.task_failed,
            "WORKFLOW_TASK_TIMED_OUT": Reader.task_timed_out,
            "ACTIVITY_TASK_SCHEDULED": Reader.activity_scheduled,
            "ACTIVITY_TASK_STARTED": Reader.activity_started,
            "ACTIVITY_TASK_COMPLETED": Reader.activity_completed,
            "ACTIVITY_TASK_FAILED": Reader.activity_failed,
            "ACTIVITY_TASK_TIMED_OUT": Reader.activity_timed_out,
            "ACTIVITY_TASK_CANCELED": Reader.activity_canceled,
            "TIMER_STARTED": Reader.timer_started,
            "TIMER_FIRED": Reader.timer_fired,
            "TIMER_CANCELED": Reader.timer_canceled,
            "WORKFLOW_EXECUTION_SIGNALED": Reader.signaled,
            "WORKFLOW_EXECUTION_UPDATE_ADMITTED": Reader.update_admitted,
            "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": Reader.update_accepted,
            "WORKFLOW_EXECUTION_UPDATE_COMPLETED": Reader.update_completed,
            "MARKER_RECORDED": elsewhere.marker,
            "START_CHILD_WORKFLOW_EXECUTION_INITIATED": elsewhere.child_initiated,
            "START_CHILD_WORKFLOW_EXECUTION_FAILED": elsewhere.child_not_started,
            "CHILD_WORKFLOW_EXECUTION_STARTED": elsewhere.child_started,
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": elsewhere.signal_sent,
            "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": elsewhere.cancel_sent,
            "NEXUS_OPERATION_SCHEDULED": elsewhere.nexus_scheduled,
            "NEXUS_OPERATION_STARTED": elsewhere.nexus_started,
        }.items()
    },
}
