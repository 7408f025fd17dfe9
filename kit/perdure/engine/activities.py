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

from perdure.engine import activity_options, attempts
from perdure.engine.attempts import note
from perdure.engine.closing import close_run
from perdure.engine.failures import activity_timeout
from perdure.engine.protos import duration, from_duration
from perdure.engine.records import AttemptEnded, AttemptStarted, Heartbeat
from perdure.engine.retries import Retry, fill_policy, is_retryable, next_retry
from perdure.engine.state import Activity, Execution
from perdure.engine.turn import OfferActivity, Turn
from perdure.engine.workflow_tasks import deliver

_START_TO_CLOSE = TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
_SCHEDULE_TO_START = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
_SCHEDULE_TO_CLOSE = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
_HEARTBEAT = TimeoutType.TIMEOUT_TYPE_HEARTBEAT
_NO_TIME_LEFT = (
    "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
)


def normalised(
    ex: Execution, command: ScheduleActivityTaskCommandAttributes, completed_id: int
) -> ActivityTaskScheduledEventAttributes:
    """The scheduled event's attributes: timeouts completed by Temporal's rules (8.1), retry policy filled."""
    timeouts = activity_options.complete(
        from_duration(command.schedule_to_close_timeout),
        from_duration(command.schedule_to_start_timeout),
        from_duration(command.start_to_close_timeout),
        from_duration(command.heartbeat_timeout),
        from_duration(ex.started.workflow_run_timeout),
    )
    return ActivityTaskScheduledEventAttributes(
        activity_id=command.activity_id,
        activity_type=command.activity_type,
        task_queue=TaskQueue(
            name=command.task_queue.name or ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        ),
        header=command.header if command.HasField("header") else None,
        input=command.input if command.HasField("input") else None,
        schedule_to_close_timeout=duration(timeouts.to_close),
        schedule_to_start_timeout=duration(timeouts.to_start),
        start_to_close_timeout=duration(timeouts.running),
        heartbeat_timeout=duration(timeouts.heartbeat),
        workflow_task_completed_event_id=completed_id,
        retry_policy=fill_policy(command.retry_policy),
        use_workflow_build_id=command.use_workflow_build_id,
        priority=command.priority if command.HasField("priority") else None,
    )


def offer(turn: Turn, activity: Activity) -> None:
    """Puts the current attempt into its task queue."""
    activity.offered = True
    turn.effects.append(OfferActivity(activity.scheduled_id))


def offer_waiting(turn: Turn) -> None:
    """Offers anew what lies in task queues: other workers may have to take it now."""
    for activity in turn.ex.activities.values():
        if activity.offered and not activity.started:
            activity.stamp = turn.ex.new_stamp()
            offer(turn, activity)


def start_attempt(
    turn: Turn, activity: Activity, identity: str, process: str, sdk: tuple[str, str] = ("", "")
) -> None:
    """A worker takes the current attempt. No event: see the module's head. `sdk`: the name and version of the worker's."""
    start = AttemptStarted(
        turn.ex.run_id,
        activity.scheduled_id,
        activity.attempt,
        activity.due_time,
        turn.now,
        identity,
        process,
        *sdk,
    )
    turn.records.append(start)
    note(activity, start)


def complete_activity(turn: Turn, activity: Activity, result: Payloads | None, identity: str) -> None:
    """Also one that no worker took: who completes it has then started it, too."""
    polled = activity.started
    if not polled:
        start_attempt(turn, activity, identity, "")
    end = _end_attempt(turn, activity, "completed")
    _close(
        turn,
        activity,
        ActivityTaskCompletedEventAttributes(result=result, identity=identity),
        end,
        polled=polled,
    )


def fail_activity(turn: Turn, activity: Activity, failure: Failure | None, identity: str) -> None:
    """The attempt failed: the next one is due after the back-off, or the activity has failed for good."""
    retry = _retry_after(turn, activity, failure or Failure())
    if retry.delay is not None:
        _retry(turn, activity, "failed", failure, retry.delay)
        return
    if failure is None and activity.standalone:
        failure = Failure(message="activity task failed without failure details")
    end = _end_attempt(turn, activity, "failed", failure)
    _close(
        turn,
        activity,
        ActivityTaskFailedEventAttributes(failure=failure, identity=identity, retry_state=retry.state),
        end,
    )


def time_out_activity(turn: Turn, activity: Activity, kind: TimeoutType.ValueType) -> None:
    """A timer of the activity ran out (8.4)."""
    _end_without_answer(turn, activity, kind, "", "timed_out", delay=None)


def lose_attempt(turn: Turn, activity: Activity, reason: str) -> None:
    """The process that ran the attempt is gone: as its start-to-close timeout would end it, but now; the next is due at once."""
    _end_without_answer(turn, activity, _START_TO_CLOSE, reason, "lost", delay=0)


def _end_without_answer(
    turn: Turn,
    activity: Activity,
    kind: TimeoutType.ValueType,
    message: str,
    outcome: str,
    delay: int | None,
) -> None:
    of_the_whole = kind in (_SCHEDULE_TO_START, _SCHEDULE_TO_CLOSE)
    failure = _timeout(activity, kind, message)
    if of_the_whole and not activity.cancel_requested_id:
        retry = Retry(None, RetryState.RETRY_STATE_TIMEOUT)
    elif of_the_whole:
        retry = Retry(None, RetryState.RETRY_STATE_CANCEL_REQUESTED)
    else:
        retry = _retry_after(turn, activity, failure)
    if retry.delay is not None:
        _retry(turn, activity, outcome, failure, retry.delay if delay is None else delay)
        return
    end = _end_attempt(turn, activity, outcome, _with(failure, activity)) if activity.started else None
    # a refusal for want of time is Temporal's schedule-to-close timeout; a standalone one that simply ran out says so
    out_of_time = retry.state == RetryState.RETRY_STATE_TIMEOUT and kind != _SCHEDULE_TO_START
    if out_of_time and not (activity.standalone and of_the_whole):
        failure = _timeout(activity, _SCHEDULE_TO_CLOSE, _NO_TIME_LEFT)
    closing = ActivityTaskTimedOutEventAttributes(failure=_with(failure, activity), retry_state=retry.state)
    _close(turn, activity, closing, end)


def _with(failure: Failure, activity: Activity) -> Failure:
    """A timeout for good tells the last heartbeat's details, and what the attempt before failed with."""
    whole = Failure()
    whole.CopyFrom(failure)
    if activity.heartbeat_details is not None:
        whole.timeout_failure_info.last_heartbeat_details.CopyFrom(activity.heartbeat_details)
    if activity.last_failure is not None:
        whole.cause.CopyFrom(activity.last_failure)
    return whole


def _timeout(activity: Activity, kind: TimeoutType.ValueType, message: str) -> Failure:
    failure = activity_timeout(kind, message=message)
    if activity.standalone:
        failure.source = ""
    return failure


def _retry_after(turn: Turn, activity: Activity, failure: Failure) -> Retry:
    """Whether another attempt follows, in the order of 8.3. A paused activity keeps its next attempt, even one too many."""
    if activity.standalone and activity.reset:
        return Retry(0, RetryState.RETRY_STATE_IN_PROGRESS)
    if activity.cancel_requested_id:
        return Retry(None, RetryState.RETRY_STATE_CANCEL_REQUESTED)
    if activity.paused is not None and not activity.standalone:
        if is_retryable(failure, activity.policy.non_retryable_error_types):
            return Retry(0, RetryState.RETRY_STATE_IN_PROGRESS)
        return Retry(None, RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)
    retry = next_retry(activity.policy, activity.attempt, failure, turn.now, activity.retry_expiration)
    info = failure.application_failure_info
    if retry.delay is None or not info.HasField("next_retry_delay") or from_duration(info.next_retry_delay):
        return retry
    # a delay of zero: to the server that is no delay for a standalone activity, and no time for any other
    if not activity.standalone:
        return Retry(None, RetryState.RETRY_STATE_TIMEOUT)
    return next_retry(activity.policy, activity.attempt, Failure(), turn.now, activity.retry_expiration)


def _retry(turn: Turn, activity: Activity, outcome: str, failure: Failure | None, delay: int) -> None:
    """The attempt is over, another follows after `delay`; one of a paused activity when an operator says so."""
    waits = activity.paused is not None and not activity.standalone
    note(activity, _end_attempt(turn, activity, outcome, failure, None if waits else turn.now + delay))
    activity.stamp = turn.ex.new_stamp()
    show_status(turn)
    offer_when_due(turn, activity)


def show_status(turn: Turn) -> None:
    """Lists show a standalone activity that is paused as such once no attempt of it runs."""
    ex = turn.ex
    if ex.activity is not None and ex.open:
        before, ex.status = ex.status, attempts.standalone_status(ex.activity)
        if ex.status != before:
            turn.changed()


def offer_when_due(turn: Turn, activity: Activity) -> None:
    """Offers the current attempt at once if it may start; a timer does it otherwise."""
    if activity.paused is None and activity.due_time <= turn.now:
        offer(turn, activity)


def _end_attempt(
    turn: Turn,
    activity: Activity,
    outcome: str,
    failure: Failure | None = None,
    next_attempt_time: int | None = None,
) -> AttemptEnded:
    end = AttemptEnded(
        turn.ex.run_id,
        activity.scheduled_id,
        activity.started_as if activity.started else activity.attempt,
        turn.now,
        outcome,
        failure,
        next_attempt_time,
    )
    turn.records.append(end)
    return end


def _close(
    turn: Turn, activity: Activity, closing: Message, end: AttemptEnded | None = None, *, polled: bool = True
) -> None:
    """Started (if the last attempt was) and the closing event, in a row; buffered together while a workflow task is started.

    A standalone activity's run is closed with them.
    """
    closing.scheduled_event_id = activity.scheduled_id  # type: ignore[attr-defined]
    events = [turn.event(closing)]
    if activity.started:
        started = ActivityTaskStartedEventAttributes(
            scheduled_event_id=activity.scheduled_id,
            identity=activity.identity,
            request_id=f"{turn.ex.run_id}:{activity.scheduled_id}:{activity.attempt}" if polled else "",
            attempt=activity.attempt,
            last_failure=activity.last_failure,
        )
        events.insert(0, turn.event(started, when=activity.started_time))
    if activity.standalone:
        if activity.started:
            closing.started_event_id = turn.ex.next_event_id  # type: ignore[attr-defined]
            turn.append(events[0])
        close_run(turn, closing)
        if end is not None:
            note(activity, end)
    else:
        deliver(turn, *events)


def request_cancel(turn: Turn, activity: Activity, identity: str = "") -> None:
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
            identity=identity,
        ),
    )


def cancel_activity(turn: Turn, activity: Activity, details: Payloads | None, identity: str) -> None:
    """The worker reports the attempt as canceled; allowed only when cancellation was requested (the caller checks)."""
    if activity.started:
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
    beat = Heartbeat(
        turn.ex.run_id, activity.scheduled_id, activity.attempt, turn.now, details, activity.heartbeats + 1
    )
    turn.records.append(beat)
    note(activity, beat)


def heartbeat_flags(activity: Activity) -> dict[str, bool]:
    """What a heartbeat tells the worker. A standalone activity says one thing at a time: cancel, reset, pause."""
    cancel = bool(activity.cancel_requested_id)
    reset, paused = activity.reset, activity.paused is not None
    if activity.standalone:
        reset = reset and not cancel
        paused = paused and not cancel and not reset
    return {"cancel_requested": cancel, "activity_reset": reset, "activity_paused": paused}


def deadline(activity: Activity) -> tuple[int, TimeoutType.ValueType | None] | None:
    """The activity's next timer: when, and which timeout; None as the timeout means that the next attempt becomes due.

    One that is paused has no timers, not even while its attempt still runs; a standalone one keeps those that its end hangs on.
    """
    timers: list[tuple[int, TimeoutType.ValueType | None]] = []
    if activity.paused is not None and not activity.standalone:
        return None
    if activity.expiration is not None:
        timers.append((activity.expiration, _SCHEDULE_TO_CLOSE))
    if not activity.started:
        if activity.paused is not None:
            return timers[0] if timers else None
        if not activity.offered:
            timers.append((activity.due_time, None))
        if limit := from_duration(activity.attributes.schedule_to_start_timeout):
            timers.append((activity.due_time + limit, _SCHEDULE_TO_START))
    else:
        if limit := from_duration(activity.attributes.start_to_close_timeout):
            timers.append((activity.started_time + limit, _START_TO_CLOSE))
        if limit := from_duration(activity.attributes.heartbeat_timeout):
            timers.append((max(activity.started_time, activity.heartbeat_time) + limit, _HEARTBEAT))
    return min(timers, key=lambda timer: (timer[0], timer[1] or 0), default=None)
