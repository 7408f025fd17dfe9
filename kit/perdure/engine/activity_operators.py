"""What operators do to the pending activities of a workflow: pause, unpause, reset, change options. TEMPORAL.md, section 18.

No events: each request leaves an `ActivityChanged` record with the activity's whole state (`attempts.snapshot`). A running attempt goes
on in any case; its next heartbeat tells it. What the worker holds stays valid unless the reset changed the attempt's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.engine import activity_options, attempts, pause_info
from perdure.engine.activities import offer_when_due
from perdure.engine.errors import Code, ServiceError, not_found
from perdure.engine.records import ActivityChanged
from perdure.engine.retries import backoff
from perdure.engine.state import Activity, Execution, Pause
from perdure.engine.turn import Turn


def chosen(
    ex: Execution, *, activity_id: str = "", activity_type: str = "", every: bool = False
) -> list[Activity]:
    """The pending activities that a request means. Raises NOT_FOUND if there are none."""
    found = [
        activity
        for activity in ex.activities.values()
        if every or (activity.id == activity_id if activity_id else activity.type == activity_type)
    ]
    if not found:
        raise not_found(
            "Can't find pending activity with such ID. Invalid activityID or activity already completed"
        )
    return found


def check_pause(chosen: Sequence[Activity], request_id: str) -> None:
    """Raises FAILED_PRECONDITION for an activity that another request has paused."""
    for activity in chosen:
        if activity.paused is not None and activity.request_ids.get("pause", "") != request_id:
            raise ServiceError(Code.FAILED_PRECONDITION, "activity is already paused")


def pause(turn: Turn, activity: Activity, identity: str, reason: str, request_id: str) -> None:
    """The activity is not dispatched and not retried until it is unpaused, and no timer of it runs."""
    if activity.paused is not None:
        return
    changed = draft(activity)
    changed.paused = Pause(turn.now, identity, reason)
    record(turn, activity, changed, "pause", identity, reason, request_id)
    publish(turn)


def unpause(
    turn: Turn,
    activity: Activity,
    identity: str,
    *,
    reset_attempts: bool = False,
    reset_heartbeat: bool = False,
    offset: int = 0,
) -> None:
    """The activity goes on: the next attempt is due now (after the jitter's `offset`), whatever its back-off was."""
    if activity.paused is None:
        return
    changed = draft(activity)
    changed.paused = None
    if reset_attempts:
        changed.attempt = 1
    if reset_heartbeat:
        changed.heartbeat_details, changed.heartbeat_time = None, 0
    if not activity.started:
        _reschedule(changed, turn.now + offset)
    record(turn, activity, changed, "unpause", identity)
    publish(turn)


def reset(
    turn: Turn,
    activity: Activity,
    identity: str,
    *,
    reset_heartbeat: bool = False,
    keep_paused: bool = False,
    restore_options: bool = False,
    offset: int = 0,
) -> None:
    """Attempts are counted from 1 again, and the next one is due now. A running attempt goes on and counts as the first."""
    changed = draft(activity)
    changed.attempt = 1
    changed.reset = True
    changed.clear_heartbeat = activity.clear_heartbeat or reset_heartbeat
    if restore_options:
        attempts.restore_options(changed)
    if not keep_paused:
        changed.paused = None
    waits = not activity.started and not activity.cancel_requested_id
    if waits and changed.paused is None:
        _reschedule(changed, turn.now + offset)
    record(turn, activity, changed, "reset", identity)
    publish(turn)


def update_options(
    turn: Turn, activity: Activity, identity: str, options: ActivityOptions
) -> ActivityOptions:
    """Puts new (merged, checked) options in force: timers run by them, and so does the back-off before the next attempt."""
    activity_options.normalise(options, 0)
    changed = draft(activity)
    policy = list(changed.policy.non_retryable_error_types)
    changed.attributes = attempts.with_options(activity.attributes, options)
    del changed.policy.non_retryable_error_types[:]
    changed.policy.non_retryable_error_types.extend(policy)
    _put_in_force(turn, activity, changed, identity)
    return options


def restore_original(turn: Turn, activity: Activity, identity: str) -> ActivityOptions:
    """The options that the activity was scheduled with count again."""
    changed = draft(activity)
    attempts.restore_options(changed)
    _put_in_force(turn, activity, changed, identity)
    options = activity_options.of(changed.attributes)
    options.retry_policy.CopyFrom(changed.policy)
    options.task_queue.CopyFrom(TaskQueue(name=options.task_queue.name))
    return options


def _put_in_force(turn: Turn, activity: Activity, changed: Activity, identity: str) -> None:
    if not activity.started and not activity.cancel_requested_id:
        due = changed.due_time
        # counted as Temporal counts it here: with the number of the attempt to come
        if activity.attempt > 1 and (interval := backoff(changed.policy, activity.attempt)) > 0:
            due = activity.last_ended_time + interval
        _reschedule(changed, due)
    record(turn, activity, changed, "update_options", identity)


def _reschedule(changed: Activity, due: int) -> None:
    """The current attempt is to start at `due`; what waited for the end of an attempt is done."""
    changed.due_time = due
    changed.last_failure = None
    if changed.clear_heartbeat:
        changed.heartbeat_details, changed.heartbeat_time = None, 0
    changed.reset = changed.clear_heartbeat = False


def draft(activity: Activity) -> Activity:
    """A copy to put a request's outcome into; its record is what changes the activity."""
    return replace(activity)


def record(
    turn: Turn,
    activity: Activity,
    changed: Activity,
    action: str,
    identity: str = "",
    reason: str = "",
    request_id: str = "",
    *,
    offer: bool = True,
) -> None:
    """Records the drafted state, folds it into the activity, and offers it (unless it ends) if it may start now."""
    change = ActivityChanged(
        turn.ex.run_id,
        activity.scheduled_id,
        turn.now,
        attempts.snapshot(changed),
        action,
        identity,
        reason,
        request_id,
        attempts.deferred(changed),
    )
    turn.records.append(change)
    attempts.note(activity, change)
    if not activity.started:
        activity.stamp = turn.ex.new_stamp()
        if offer:
            offer_when_due(turn, activity)


def publish(turn: Turn) -> None:
    """Lists show what is paused: the run's TemporalPauseInfo names the types of its paused activities."""
    types = dict.fromkeys(
        activity.type for activity in turn.ex.activities.values() if activity.paused is not None
    )
    if pause_info.show_activities(turn.ex, list(types)):
        turn.changed()
