"""What a Temporal cluster tells of a run -> the records that perdure's pictures and tables are made from. Pure.

A file keeps every attempt of an activity; a cluster keeps the last one, in the description while the activity is open
and in the history when it has closed. So an open activity has its current attempt, and of those before the failure of the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from perdure.engine.records import (
    AttemptEnded,
    AttemptStarted,
    ExecutionClosed,
    ExecutionStarted,
    RunRecords,
)

_RUNNING = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
}
_STARTED = {
    PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
    PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED,
    PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED,
}


def run_records(
    namespace: str, described: DescribeWorkflowExecutionResponse, events: Sequence[HistoryEvent]
) -> RunRecords:
    """The records of a run, from its description and its whole history."""
    info = described.workflow_execution_info
    records = RunRecords(_started(namespace, info, events[0]), events=list(events))
    if info.status not in _RUNNING:
        records.closed = ExecutionClosed(
            info.execution.run_id,
            info.status,
            _instant(info.close_time),
            info.history_length,
            info.history_size_bytes,
            state_transitions=info.state_transition_count,
        )
    scheduled = {
        event.activity_task_scheduled_event_attributes.activity_id: event.event_id
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    }
    for activity in described.pending_activities:
        event_id = scheduled.get(activity.activity_id)
        if event_id is not None:  # else it was scheduled after the history was read
            _add_attempts(records, event_id, activity)
    return records


def _started(namespace: str, info: WorkflowExecutionInfo, first: HistoryEvent) -> ExecutionStarted:
    about = first.workflow_execution_started_event_attributes
    return ExecutionStarted(
        namespace=namespace,
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        first_run_id=about.first_execution_run_id,
        workflow_type=info.type.name,
        task_queue=about.task_queue.name,
        start_time=_instant(info.start_time),
        execution_time=_instant(info.start_time) + _length(about.first_workflow_task_backoff),
        parent_workflow_id=info.parent_execution.workflow_id,
        parent_run_id=info.parent_execution.run_id,
        memo=info.memo,
        search_attributes=info.search_attributes,
        root_workflow_id=info.root_execution.workflow_id,
        root_run_id=info.root_execution.run_id,
    )


def _add_attempts(records: RunRecords, event_id: int, activity: PendingActivityInfo) -> None:
    """The attempt that runs; or the one that failed last, and when the next is due."""
    run_id, due = records.started.run_id, _instant(activity.scheduled_time)
    began = _instant(activity.last_started_time)
    identity = activity.last_worker_identity
    if activity.state in _STARTED:
        records.attempt_starts.append(
            AttemptStarted(run_id, event_id, activity.attempt, due or began, began, identity, "")
        )
    elif activity.attempt > 1:
        failed, ended = activity.attempt - 1, _instant(activity.last_attempt_complete_time)
        records.attempt_starts.append(AttemptStarted(run_id, event_id, failed, began, began, identity, ""))
        records.attempt_ends.append(
            AttemptEnded(
                run_id,
                event_id,
                failed,
                ended or began,
                _outcome(activity),
                activity.last_failure if activity.HasField("last_failure") else None,
                _instant(activity.next_attempt_schedule_time) or due,
            )
        )


def _outcome(activity: PendingActivityInfo) -> str:
    return "timed_out" if activity.last_failure.HasField("timeout_failure_info") else "failed"


def _instant(time: Timestamp) -> int:
    """ns since the epoch; 0 for a time that is not set."""
    return time.ToNanoseconds() if time.seconds > 0 else 0


def _length(duration: Duration) -> int:
    return duration.ToNanoseconds()
