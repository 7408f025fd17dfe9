"""The records of an open run -> its state, as it was when its last commit was made. Pure."""

from __future__ import annotations

from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes

from perdure.engine.attempts import note, standalone_started, standalone_status
from perdure.engine.fold import absorb, apply
from perdure.engine.protos import from_timestamp
from perdure.engine.records import AttemptEnded, AttemptStarted, RunRecords
from perdure.engine.state import Buffered, Execution
from perdure.engine.updates import abort, drop_seen


def recover(records: RunRecords) -> Execution:
    """Folds events, then what happened to activities, then what lay in the buffer."""
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
    if started.division:
        _begin_standalone(ex, records)
    for event in records.events:
        apply(ex, event)
    _fold_attempts(ex, records)
    for buffered in sorted(records.buffered, key=lambda b: b.buffer_seq):
        ex.buffer.append(Buffered(buffered.buffer_seq, buffered.event))
        ex.buffer_seq = max(ex.buffer_seq, buffered.buffer_seq)
        absorb(ex, buffered.event)
    drop_seen(ex)
    if records.changed is not None and records.changed.search_attributes is not None:
        ex.search_attributes.CopyFrom(records.changed.search_attributes)  # some come without an event
    if records.versions is not None:
        ex.versioning.recall(records.versions.text)
    ex.versioning.note()
    ex.sticky_queue = ""  # the worker's cache may be ahead of what was committed: it gets the full history
    if records.reset is not None:
        ex.reset_run_id = records.reset.new_run_id
    ex.transitions = _count_transitions(records)
    if records.closed is not None:
        abort(ex)
        ex.new_run_id = records.closed.new_run_id
        ex.transitions = records.closed.state_transitions
    return ex


def _begin_standalone(ex: Execution, records: RunRecords) -> None:
    """What the first event of a workflow's run says, a standalone activity's start says."""
    start = records.started
    delay = start.execution_time - start.start_time
    ex.started = standalone_started(start.workflow_type, start.task_queue, delay)
    if start.search_attributes is not None:
        ex.search_attributes.CopyFrom(start.search_attributes)


def _count_transitions(records: RunRecords) -> int:
    """About how many transactions a run has had: what one of them wrote has one time, and hardly two have the same.

    The events that a reset has copied are older than the run.
    """
    if records.started.division:
        beats = sum(beat.total for beat in records.heartbeats)
        changes = len(records.activity_changes)
        return 1 + len(records.attempt_starts) + len(records.attempt_ends) + changes + beats
    times = {from_timestamp(event.event_time) for event in records.events}
    times.update(from_timestamp(buffered.event.event_time) for buffered in records.buffered)
    for step in records.activity_steps:
        match step:
            case AttemptStarted():
                times.add(step.started_time)
            case AttemptEnded():
                times.add(step.ended_time)
            case _:
                times.add(step.time)
    return sum(time >= records.started.start_time for time in times)


def _fold_attempts(ex: Execution, records: RunRecords) -> None:
    for step in records.activity_steps:
        activity = ex.activities.get(step.scheduled_event_id) or ex.activity
        if activity is not None:
            note(activity, step)
    if ex.activity is not None and ex.open:
        ex.status = standalone_status(ex.activity)
