"""The records of an open run -> its state, as it was when its last commit was made. Pure."""

from __future__ import annotations

from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes

from perdure.engine.failures import truncate
from perdure.engine.fold import absorb, apply
from perdure.engine.limits import DEFAULT
from perdure.engine.records import AttemptEnded, AttemptStarted, RunRecords
from perdure.engine.state import Activity, Buffered, Execution
from perdure.engine.updates import abort, drop_seen


def recover(records: RunRecords) -> Execution:
    """Folds events, then attempts and heartbeats, then what lay in the buffer."""
    started = records.started
    ex = Execution(
        started.namespace,
        started.workflow_id,
        started.run_id,
        WorkflowExecutionStartedEventAttributes(),
        started.start_time,
        division=started.division,
        start_request_id=started.request_id,
    )
    for event in records.events:
        apply(ex, event)
    _fold_attempts(ex, records)
    for buffered in sorted(records.buffered, key=lambda b: b.buffer_seq):
        ex.buffer.append(Buffered(buffered.buffer_seq, buffered.event))
        ex.buffer_seq = max(ex.buffer_seq, buffered.buffer_seq)
        absorb(ex, buffered.event)
    drop_seen(ex)
    ex.sticky_queue = ""  # the worker's cache may be ahead of what was committed: it gets the full history
    if records.reset is not None:
        ex.reset_run_id = records.reset.new_run_id
    if records.closed is not None:
        abort(ex)
        ex.new_run_id = records.closed.new_run_id
    return ex


def _fold_attempts(ex: Execution, records: RunRecords) -> None:
    steps: list[AttemptStarted | AttemptEnded] = [*records.attempt_starts, *records.attempt_ends]
    steps.sort(key=lambda s: (s.scheduled_event_id, s.attempt, isinstance(s, AttemptEnded)))
    for step in steps:
        activity = ex.activities.get(step.scheduled_event_id)
        if activity is None:
            continue
        if isinstance(step, AttemptStarted):
            activity.attempt = step.attempt
            activity.due_time = step.scheduled_time
            activity.started_time = step.started_time
            activity.identity, activity.process = step.identity, step.process
        else:
            _fold_end(activity, step)
    for beat in records.heartbeats:
        if activity := ex.activities.get(beat.scheduled_event_id):
            activity.heartbeat_details = beat.details
            if beat.attempt == activity.attempt:
                activity.heartbeat_time = beat.time


def _fold_end(activity: Activity, end: AttemptEnded) -> None:
    activity.attempt = end.attempt + 1
    activity.due_time = end.next_attempt_time if end.next_attempt_time is not None else end.ended_time
    activity.last_identity = activity.identity
    activity.last_ended_time = end.ended_time
    activity.last_failure = truncate(end.failure, DEFAULT.failure_kept) if end.failure is not None else None
    activity.started_time = 0
    activity.identity = activity.process = ""
