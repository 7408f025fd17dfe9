"""Activities: attempts, retries, timeouts, heartbeats, cancellation. TEMPORAL.md, section 8.

Attempts live in state and in records of their own; the history gets one Started event and one closing event when the activity ends
for good.
"""

from __future__ import annotations

from google.protobuf.message import Message
from temporalio.api.command.v1 import ScheduleActivityTaskCommandAttributes
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import RetryState, TaskQueueKind, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    ActivityTaskCanceledEventAttributes,
    ActivityTaskCompletedEventAttributes,
    ActivityTaskFailedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    ActivityTaskStartedEventAttributes,
    ActivityTaskTimedOutEventAttributes,
)
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.engine.failures import activity_timeout, truncate
from perdure.engine.protos import from_duration, optional_duration
from perdure.engine.records import AttemptEnded, AttemptStarted, Heartbeat
from perdure.engine.retries import Retry, fill_policy, next_retry
from perdure.engine.state import Activity, Execution
from perdure.engine.turn import OfferActivity, Turn
from perdure.engine.workflow_tasks import deliver

_START_TO_CLOSE = TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
_SCHEDULE_TO_START = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
_SCHEDULE_TO_CLOSE = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
_HEARTBEAT = TimeoutType.TIMEOUT_TYPE_HEARTBEAT


def normalised(
    ex: Execution, command: ScheduleActivityTaskCommandAttributes, completed_id: int
) -> ActivityTaskScheduledEventAttributes:
    """The scheduled event's attributes: timeouts completed by Temporal's rules (8.1), retry policy filled."""
    run = from_duration(ex.started.workflow_run_timeout)
    to_close = from_duration(command.schedule_to_close_timeout)
    to_start = from_duration(command.schedule_to_start_timeout)
    running = from_duration(command.start_to_close_timeout)
    heartbeat = from_duration(command.heartbeat_timeout)
    if to_close:
        to_start = min(to_start or to_close, to_close)
        running = min(running or to_close, to_close)
    else:
        to_close = run
        to_start = to_start or run
    if run:
        to_close, to_start, running = (min(t, run) for t in (to_close, to_start, running))
    heartbeat = min(heartbeat, running)
    return ActivityTaskScheduledEventAttributes(
        activity_id=command.activity_id,
        activity_type=command.activity_type,
        task_queue=TaskQueue(
            name=command.task_queue.name or ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        ),
        header=command.header if command.HasField("header") else None,
        input=command.input if command.HasField("input") else None,
        schedule_to_close_timeout=optional_duration(to_close),
        schedule_to_start_timeout=optional_duration(to_start),
        start_to_close_timeout=optional_duration(running),
        heartbeat_timeout=optional_duration(heartbeat),
        workflow_task_completed_event_id=completed_id,
        retry_policy=fill_policy(command.retry_policy),
        use_workflow_build_id=command.use_workflow_build_id,
        priority=command.priority if command.HasField("priority") else None,
    )


def offer(turn: Turn, activity: Activity) -> None:
    """Puts the current attempt into its task queue."""
    activity.offered = True
    turn.effects.append(OfferActivity(activity.scheduled_id))


def start_attempt(turn: Turn, activity: Activity, identity: str, process: str) -> None:
    """A worker takes the current attempt. No event: see the module's head."""
    activity.started_time = turn.now
    activity.identity, activity.process = identity, process
    activity.heartbeat_time = 0
    turn.records.append(
        AttemptStarted(
            turn.ex.run_id,
            activity.scheduled_id,
            activity.attempt,
            activity.due_time,
            turn.now,
            identity,
            process,
        )
    )


def complete_activity(turn: Turn, activity: Activity, result: Payloads | None, identity: str) -> None:
    _end_attempt(turn, activity, "completed")
    _close(turn, activity, ActivityTaskCompletedEventAttributes(result=result, identity=identity))


def fail_activity(turn: Turn, activity: Activity, failure: Failure, identity: str) -> None:
    """The attempt failed: the next one is due after the back-off, or the activity has failed for good."""
    retry = _retry_after(turn, activity, failure)
    if retry.delay is not None:
        _retry(turn, activity, "failed", failure, turn.now + retry.delay)
        return
    _end_attempt(turn, activity, "failed", failure)
    _close(
        turn,
        activity,
        ActivityTaskFailedEventAttributes(failure=failure, identity=identity, retry_state=retry.state),
    )


def time_out_activity(turn: Turn, activity: Activity, kind: TimeoutType.ValueType) -> None:
    """A timer of the activity ran out (8.4)."""
    failure = activity_timeout(
        kind, heartbeat_details=activity.heartbeat_details, cause=activity.last_failure
    )
    _end_without_answer(turn, activity, kind, failure, "timed_out", delay=None)


def lose_attempt(turn: Turn, activity: Activity, reason: str) -> None:
    """The process that ran the attempt is gone: as its start-to-close timeout would end it, but now; the next is due at once."""
    failure = activity_timeout(
        _START_TO_CLOSE,
        message=reason,
        heartbeat_details=activity.heartbeat_details,
        cause=activity.last_failure,
    )
    _end_without_answer(turn, activity, _START_TO_CLOSE, failure, "lost", delay=0)


def _end_without_answer(
    turn: Turn,
    activity: Activity,
    kind: TimeoutType.ValueType,
    failure: Failure,
    outcome: str,
    delay: int | None,
) -> None:
    if kind in (_SCHEDULE_TO_START, _SCHEDULE_TO_CLOSE):
        retry = Retry(None, RetryState.RETRY_STATE_TIMEOUT)
    else:
        retry = _retry_after(turn, activity, failure)
    if retry.delay is not None:
        _retry(turn, activity, outcome, failure, turn.now + (retry.delay if delay is None else delay))
        return
    if activity.started:
        _end_attempt(turn, activity, outcome, failure)
    if retry.state == RetryState.RETRY_STATE_TIMEOUT and kind in (_START_TO_CLOSE, _HEARTBEAT):
        failure = activity_timeout(
            _SCHEDULE_TO_CLOSE,
            message="Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying",
            heartbeat_details=activity.heartbeat_details,
            cause=failure,
        )
    _close(turn, activity, ActivityTaskTimedOutEventAttributes(failure=failure, retry_state=retry.state))


def _retry_after(turn: Turn, activity: Activity, failure: Failure) -> Retry:
    if activity.cancel_requested_id:
        return Retry(None, RetryState.RETRY_STATE_CANCEL_REQUESTED)
    return next_retry(activity.policy, activity.attempt, failure, turn.now, activity.expiration)


def _retry(turn: Turn, activity: Activity, outcome: str, failure: Failure, due: int) -> None:
    _end_attempt(turn, activity, outcome, failure, due)
    activity.attempt += 1
    activity.due_time = due
    activity.last_identity = activity.identity
    activity.last_failure = truncate(failure, turn.limits.failure_kept)
    activity.last_ended_time = turn.now
    activity.started_time = 0
    activity.identity = activity.process = ""
    activity.offered = False
    activity.stamp = turn.ex.new_stamp()
    if due <= turn.now:
        offer(turn, activity)


def _end_attempt(
    turn: Turn,
    activity: Activity,
    outcome: str,
    failure: Failure | None = None,
    next_attempt_time: int | None = None,
) -> None:
    turn.records.append(
        AttemptEnded(
            turn.ex.run_id,
            activity.scheduled_id,
            activity.attempt,
            turn.now,
            outcome,
            failure,
            next_attempt_time,
        )
    )


def _close(turn: Turn, activity: Activity, closing: Message) -> None:
    """Started (if the last attempt was) and the closing event, in a row; buffered together while a workflow task is started."""
    closing.scheduled_event_id = activity.scheduled_id  # type: ignore[attr-defined]
    events = [turn.event(closing)]
    if activity.started:
        started = ActivityTaskStartedEventAttributes(
            scheduled_event_id=activity.scheduled_id,
            identity=activity.identity,
            request_id=f"{turn.ex.run_id}:{activity.scheduled_id}:{activity.attempt}",
            attempt=activity.attempt,
            last_failure=activity.last_failure,
        )
        events.insert(0, turn.event(started, when=activity.started_time))
    deliver(turn, *events)


def request_cancel(turn: Turn, activity: Activity) -> None:
    """After the CancelRequested event: an activity that is not started is canceled at once."""
    if activity.started:
        return
    details = Payloads()
    details.payloads.add(metadata={"encoding": b"json/plain"}, data=b'"ACTIVITY_ID_NOT_STARTED"')
    deliver(
        turn,
        ActivityTaskCanceledEventAttributes(
            details=details,
            latest_cancel_requested_event_id=activity.cancel_requested_id,
            scheduled_event_id=activity.scheduled_id,
        ),
    )


def cancel_activity(turn: Turn, activity: Activity, details: Payloads | None, identity: str) -> None:
    """The worker reports the attempt as canceled; allowed only when cancellation was requested (the caller checks)."""
    _end_attempt(turn, activity, "canceled")
    _close(
        turn,
        activity,
        ActivityTaskCanceledEventAttributes(
            details=details,
            latest_cancel_requested_event_id=activity.cancel_requested_id,
            identity=identity,
        ),
    )


def heartbeat(turn: Turn, activity: Activity, details: Payloads | None) -> None:
    activity.heartbeat_time = turn.now
    activity.heartbeat_details = details
    turn.records.append(Heartbeat(turn.ex.run_id, activity.scheduled_id, activity.attempt, turn.now, details))


def deadline(activity: Activity) -> tuple[int, TimeoutType.ValueType | None] | None:
    """The activity's next timer: when, and which timeout; None as the timeout means that the next attempt becomes due."""
    timers: list[tuple[int, TimeoutType.ValueType | None]] = []
    if activity.expiration is not None:
        timers.append((activity.expiration, _SCHEDULE_TO_CLOSE))
    if not activity.started:
        if not activity.offered:
            timers.append((activity.due_time, None))
        if limit := from_duration(activity.attributes.schedule_to_start_timeout):
            timers.append((activity.due_time + limit, _SCHEDULE_TO_START))
    else:
        if limit := from_duration(activity.attributes.start_to_close_timeout):
            timers.append((activity.started_time + limit, _START_TO_CLOSE))
        if limit := from_duration(activity.attributes.heartbeat_timeout):
            timers.append((max(activity.started_time, activity.heartbeat_time) + limit, _HEARTBEAT))
    return min(timers, key=lambda timer: timer[0], default=None)
