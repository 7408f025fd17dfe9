"""What records do to a pending activity: its attempts' starts and ends, heartbeats, and operators' changes.

These are Temporal's mutable state, not events. `note` is the one place that changes an activity for such a record, live and on
recovery alike: a decision makes the record, and what the record does to the state is done here.
"""

from __future__ import annotations

from typing import assert_never

from google.protobuf.message import Message
from temporalio.api.enums.v1 import PendingActivityState, TimeoutType, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.api.workflow.v1 import PendingActivityInfo

from perdure.engine.failures import truncate
from perdure.engine.limits import DEFAULT
from perdure.engine.protos import duration, from_duration, from_timestamp, timestamp
from perdure.engine.records import ActivityChanged, ActivityStep, AttemptEnded, AttemptStarted, Heartbeat
from perdure.engine.state import PAUSED, RUNNING, Activity, Pause

OPTIONS = (
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "start_to_close_timeout",
    "heartbeat_timeout",
    "retry_policy",
    "priority",
)


def note(activity: Activity, step: ActivityStep) -> None:
    """Folds one record into the activity."""
    match step:
        case AttemptStarted():
            _started(activity, step)
        case AttemptEnded():
            _ended(activity, step)
        case Heartbeat():
            activity.heartbeats = step.total or activity.heartbeats + 1
            activity.heartbeat_time = step.time
            activity.heartbeat_details = step.details
        case ActivityChanged():
            _changed(activity, step)
        case _:
            assert_never(step)


def _started(activity: Activity, start: AttemptStarted) -> None:
    activity.attempt = activity.started_as = start.attempt
    activity.due_time = start.scheduled_time
    activity.started_time = activity.last_started_time = start.started_time
    activity.first_started_time = activity.first_started_time or start.started_time
    activity.identity, activity.process = start.identity, start.process
    activity.sdk_name, activity.sdk_version = start.sdk_name, start.sdk_version


def _ended(activity: Activity, end: AttemptEnded) -> None:
    """The attempt is over and the activity goes on; or it has ended with it, and this is what stays to be described."""
    if activity.standalone and end.next_attempt_time is None:
        _ended_for_good(activity, end)
        return
    activity.last_ended_time = end.ended_time
    activity.last_failure = _kept(end.failure)
    activity.last_identity = activity.identity
    activity.started_time = 0
    activity.identity = activity.process = ""
    activity.offered = False
    activity.attempt += 1
    if end.next_attempt_time is not None:
        activity.due_time = end.next_attempt_time
    if activity.standalone:
        if activity.reset:
            activity.attempt = 1
            if activity.restore_options:
                restore_options(activity)
            _carry_out_reset(activity)
    elif activity.paused is None:
        _carry_out_reset(activity)


def _ended_for_good(activity: Activity, end: AttemptEnded) -> None:
    if end.outcome == "canceled":
        return
    timeout = end.failure.timeout_failure_info.timeout_type if end.failure is not None else 0
    if timeout in (TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START, TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE):
        return
    activity.last_ended_time = end.ended_time
    if end.failure is not None:
        activity.last_failure = end.failure


def _kept(failure: Failure | None) -> Failure | None:
    return truncate(failure, DEFAULT.failure_kept) if failure is not None else None


def _carry_out_reset(activity: Activity) -> None:
    if activity.clear_heartbeat:
        activity.heartbeat_details, activity.heartbeat_time = None, 0
    activity.reset = activity.clear_heartbeat = activity.restore_options = False


def restore_options(activity: Activity) -> None:
    """The options that the activity was scheduled with. A start delay counts again only before the first attempt."""
    activity.attributes = activity.original
    if not activity.first_started_time:
        activity.start_delay = activity.original_start_delay


def with_options(
    attributes: ActivityTaskScheduledEventAttributes, options: Message
) -> ActivityTaskScheduledEventAttributes:
    """A copy of the attributes with the queue, timeouts, policy and priority of an ActivityOptions."""
    changed = ActivityTaskScheduledEventAttributes()
    changed.CopyFrom(attributes)
    changed.task_queue.name = options.task_queue.name  # type: ignore[attr-defined]
    for name in OPTIONS:
        if options.HasField(name):
            getattr(changed, name).CopyFrom(getattr(options, name))
        else:
            changed.ClearField(name)  # type: ignore[arg-type]
    return changed


def _changed(activity: Activity, change: ActivityChanged) -> None:
    """Takes the activity as `snapshot` put it down, and what the request left to be done."""
    info = change.info
    options = info.activity_options
    activity.attempt = info.attempt
    activity.due_time = from_timestamp(info.scheduled_time)
    activity.last_failure = info.last_failure if info.HasField("last_failure") else None
    activity.heartbeat_time = from_timestamp(info.last_heartbeat_time)
    activity.heartbeat_details = info.heartbeat_details if info.HasField("heartbeat_details") else None
    activity.attributes = with_options(activity.attributes, options)
    activity.start_delay = from_duration(options.start_delay)
    pause = info.pause_info
    activity.paused = (
        Pause(from_timestamp(pause.pause_time), pause.manual.identity, pause.manual.reason)
        if info.paused
        else None
    )
    activity.offered = False
    deferred = change.deferred.split()
    activity.reset = "reset" in deferred
    activity.clear_heartbeat = "clear_heartbeat" in deferred
    activity.restore_options = "restore_options" in deferred
    if change.request_id:
        activity.request_ids[change.action] = change.request_id
    if change.action == "cancel":
        activity.cancel_identity, activity.cancel_reason = change.identity, change.reason


def deferred(activity: Activity) -> str:
    """What waits for the end of the running attempt, as ActivityChanged says it."""
    words = ("reset", "clear_heartbeat", "restore_options")
    return " ".join(word for word in words if getattr(activity, word))


def snapshot(activity: Activity) -> PendingActivityInfo:
    """The activity whole, as ActivityChanged keeps it."""
    attributes = activity.attributes
    info = PendingActivityInfo(
        activity_id=activity.id,
        activity_type=attributes.activity_type,
        state=state_of(activity),
        attempt=activity.attempt,
        maximum_attempts=activity.policy.maximum_attempts,
        scheduled_time=timestamp(activity.due_time),
        last_worker_identity=activity.identity or activity.last_identity,
        heartbeat_details=activity.heartbeat_details,
        last_failure=activity.last_failure,
        paused=activity.paused is not None,
        priority=attributes.priority if attributes.HasField("priority") else None,
    )
    for name, when in (
        ("expiration_time", activity.retry_expiration or 0),
        ("last_started_time", activity.started_time),
        ("last_heartbeat_time", activity.heartbeat_time),
        ("last_attempt_complete_time", activity.last_ended_time),
    ):
        if when:
            getattr(info, name).CopyFrom(timestamp(when))
    if activity.paused is not None:
        info.pause_info.pause_time.CopyFrom(timestamp(activity.paused.time))
        info.pause_info.manual.identity = activity.paused.identity
        info.pause_info.manual.reason = activity.paused.reason
    options = info.activity_options
    options.task_queue.name = options.task_queue.normal_name = attributes.task_queue.name
    for name in OPTIONS:
        if attributes.HasField(name):  # type: ignore[arg-type]
            getattr(options, name).CopyFrom(getattr(attributes, name))
    if activity.start_delay:
        options.start_delay.CopyFrom(duration(activity.start_delay))
    return info


def describe(activity: Activity, now: int) -> PendingActivityInfo:
    """The activity as DescribeWorkflowExecution shows it."""
    info = snapshot(activity)
    info.activity_options.retry_policy.ClearField("non_retryable_error_types")
    if not activity.heartbeat_time:
        info.ClearField("heartbeat_details")
    waits = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    if waits and now < activity.due_time:
        info.next_attempt_schedule_time.CopyFrom(timestamp(activity.due_time))
        info.current_retry_interval.CopyFrom(
            duration(max(0, activity.due_time - (activity.last_ended_time or activity.scheduled_time)))
        )
    return info


def state_of(activity: Activity) -> PendingActivityState.ValueType:
    if activity.cancel_requested_id:
        return PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
    if activity.paused is not None:
        return (
            PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
            if activity.started
            else PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED
        )
    if activity.started:
        return PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    return PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED


def standalone_status(activity: Activity) -> WorkflowExecutionStatus.ValueType:
    """How lists show the run of an open standalone activity."""
    return PAUSED if activity.paused is not None and not activity.started else RUNNING


def standalone_started(
    activity_type: str, task_queue: str, delay: int
) -> WorkflowExecutionStartedEventAttributes:
    """A standalone activity's type, queue and start delay, where a workflow's run has them."""
    attributes = WorkflowExecutionStartedEventAttributes(first_workflow_task_backoff=duration(delay))
    attributes.workflow_type.name = activity_type
    attributes.task_queue.name = task_queue
    return attributes
