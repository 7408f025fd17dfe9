"""A standalone activity as Temporal describes and lists it."""

from __future__ import annotations

from temporalio.api.activity.v1 import ActivityExecutionInfo, ActivityExecutionListInfo
from temporalio.api.common.v1 import ActivityType
from temporalio.api.enums.v1 import ActivityExecutionStatus, PendingActivityState

from perdure.engine import activity_options, attempts
from perdure.engine.journal import Summary
from perdure.engine.protos import duration, timestamp
from perdure.engine.standalone import the_activity
from perdure.engine.state import Activity, Execution

_Status = ActivityExecutionStatus
_STATUS: dict[
    int, ActivityExecutionStatus.ValueType
] = {  # by the number of the run's WorkflowExecutionStatus
    1: _Status.ACTIVITY_EXECUTION_STATUS_RUNNING,
    2: _Status.ACTIVITY_EXECUTION_STATUS_COMPLETED,
    3: _Status.ACTIVITY_EXECUTION_STATUS_FAILED,
    4: _Status.ACTIVITY_EXECUTION_STATUS_CANCELED,
    5: _Status.ACTIVITY_EXECUTION_STATUS_TERMINATED,
    7: _Status.ACTIVITY_EXECUTION_STATUS_TIMED_OUT,
    8: _Status.ACTIVITY_EXECUTION_STATUS_PAUSED,
}


def describe(ex: Execution, now: int, *, with_heartbeat: bool, with_failure: bool) -> ActivityExecutionInfo:
    activity = the_activity(ex)
    attributes = activity.attributes
    info = ActivityExecutionInfo(
        activity_id=ex.workflow_id,
        run_id=ex.run_id,
        activity_type=attributes.activity_type,
        status=_STATUS[ex.status],
        run_state=attempts.state_of(activity)
        if ex.open
        else PendingActivityState.PENDING_ACTIVITY_STATE_UNSPECIFIED,
        task_queue=attributes.task_queue.name,
        retry_policy=attributes.retry_policy,
        attempt=activity.attempt,
        schedule_time=timestamp(activity.scheduled_time),
        execution_time=timestamp(activity.scheduled_time + activity.start_delay),
        last_worker_identity=_last_identity(ex, activity),
        state_transition_count=ex.transitions,
        state_size_bytes=ex.history_size,
        search_attributes=ex.search_attributes,
        total_heartbeat_count=activity.heartbeats,
        sdk_name=activity.sdk_name,
        sdk_version=activity.sdk_version,
        canceled_reason=activity.cancel_reason,
        links=ex.events[0].links,
    )
    for name in activity_options.TIMEOUTS:
        getattr(info, name).CopyFrom(getattr(attributes, name))
    for name in ("header", "priority"):
        if attributes.HasField(name):  # type: ignore[arg-type]
            getattr(info, name).CopyFrom(getattr(attributes, name))
    if ex.events[0].HasField("user_metadata"):
        info.user_metadata.CopyFrom(ex.events[0].user_metadata)
    if activity.start_delay or activity.original_start_delay:
        info.start_delay.CopyFrom(duration(activity.start_delay))
    _put_times(info, ex, activity, now)
    if with_heartbeat and activity.heartbeat_details is not None:
        info.heartbeat_details.CopyFrom(activity.heartbeat_details)
    if with_failure and activity.last_failure is not None:
        info.last_failure.CopyFrom(activity.last_failure)
    return info


def _put_times(info: ActivityExecutionInfo, ex: Execution, activity: Activity, now: int) -> None:
    for name, when in (
        ("last_heartbeat_time", activity.heartbeat_time),
        ("last_started_time", activity.last_started_time),
        ("last_attempt_complete_time", activity.last_ended_time),
        ("expiration_time", activity.expiration or 0),
        ("close_time", ex.close_time),
    ):
        if when:
            getattr(info, name).CopyFrom(timestamp(when))
    if not ex.open:
        info.execution_duration.CopyFrom(duration(max(0, ex.close_time - activity.scheduled_time)))
    elif info.run_state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and activity.due_time > now:
        info.next_attempt_schedule_time.CopyFrom(timestamp(activity.due_time))
        if activity.attempt > 1:
            info.current_retry_interval.CopyFrom(duration(activity.due_time - activity.last_ended_time))


def _last_identity(ex: Execution, activity: Activity) -> str:
    """Of the worker that took the last attempt, or of who completed or failed it for good."""
    event = ex.events[-1]
    by = event.activity_task_completed_event_attributes.identity
    by = by or event.activity_task_failed_event_attributes.identity
    return by or activity.identity or activity.last_identity


def listed(row: Summary) -> ActivityExecutionListInfo:
    info = ActivityExecutionListInfo(
        activity_id=row.workflow_id,
        run_id=row.run_id,
        activity_type=ActivityType(name=row.workflow_type),
        schedule_time=timestamp(row.start_time),
        execution_time=timestamp(row.execution_time),
        status=_STATUS[row.status],
        task_queue=row.task_queue,
        search_attributes=row.search_attributes,
    )
    if row.close_time is not None:
        info.close_time.CopyFrom(timestamp(row.close_time))
        info.execution_duration.CopyFrom(duration(max(0, row.close_time - row.start_time)))
        info.state_transition_count = row.state_transitions
        info.state_size_bytes = row.history_size_bytes
    return info
