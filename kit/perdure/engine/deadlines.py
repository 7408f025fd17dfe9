"""All durable timers of a run, derived from its state: when the next is due (in the run's own time), and what happens then.

Nothing is armed or cancelled: the shell asks for `next_deadline` after each turn, and recovery needs no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import TimerFiredEventAttributes

from perdure.engine import activities
from perdure.engine.closing import time_out_run
from perdure.engine.limits import DEFAULT
from perdure.engine.records import (
    ActivityChanged,
    AttemptEnded,
    AttemptStarted,
    EventAppended,
    EventBuffered,
    Heartbeat,
    Record,
)
from perdure.engine.state import RUNNING, Execution
from perdure.engine.time_skipping import end_fast_forward, pending_fast_forward
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import deliver, leave_queue, schedule_task, time_out_task

_MANY = 64  # pending timers and activities from which on looking at all of them costs
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_OF_TASKS: dict[int, int] = dict.fromkeys(
    (
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
        EventType.EVENT_TYPE_TIMER_FIRED,
        EventType.EVENT_TYPE_TIMER_CANCELED,
        EventType.EVENT_TYPE_MARKER_RECORDED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    ),
    0,
)


def next_deadline(ex: Execution) -> int | None:
    """When the next timer of the run is due; None when nothing but an outside event can move it."""
    if not ex.open:
        return None
    times = [timer.fire_time for timer in ex.timers.values()]
    task_due = _task_deadline(ex)
    if task_due is not None:
        times.append(task_due)
    for activity in ex.activities.values():
        if due := activities.deadline(activity):
            times.append(due[0])
    if ex.run_expiration is not None:
        times.append(ex.run_expiration)
    if (forward := pending_fast_forward(ex)) is not None:
        times.append(forward)
    return min(times, default=None)


def deadline_after(ex: Execution, records: Sequence[Record], before: int | None) -> int | None:
    """As `next_deadline`, after a turn that left these records; `before`: what it was then, None if that is not known.

    With very many pending timers and activities only what the turn touched is looked at. The answer may then be too early, never too
    late: whoever wakes up for nothing asks `next_deadline`. Else a run of n activities would cost n² looks.
    """
    if before is None or len(ex.activities) + len(ex.timers) < _MANY:
        return next_deadline(ex)
    touched = {_touched(record) for record in records}
    if None in touched:
        return next_deadline(ex)
    times = [before]
    for event_id in touched:
        if (activity := ex.activities.get(event_id or 0)) and (due := activities.deadline(activity)):
            times.append(due[0])
    if (task_due := _task_deadline(ex)) is not None:
        times.append(task_due)
    return min(times)


def _touched(record: Record) -> int | None:
    """The scheduled event of the only activity whose deadline the record may bring nearer; 0 for none, None if anything may be."""
    if isinstance(record, AttemptStarted | AttemptEnded | ActivityChanged | Heartbeat):
        return record.scheduled_event_id
    if isinstance(record, EventAppended):
        return (
            record.event.event_id
            if record.event.event_type == _SCHEDULED
            else _OF_TASKS.get(record.event.event_type)
        )
    return 0 if isinstance(record, EventBuffered) else None


def _task_deadline(ex: Execution) -> int | None:
    task = ex.task
    if task is None:  # a paused run's first task waits for its resumption
        return (ex.first_task_time or None) if ex.status == RUNNING else None
    if task.started:
        return task.started_time + task.timeout
    waits = [ex.sticky_timeout] if task.sticky and ex.sticky_timeout else []
    if task.speculative:  # nothing in the history says that it is there: it must not be lost
        waits.append(DEFAULT.speculative_schedule_to_start)
    return task.scheduled_time + min(waits) if waits else None


def fire(turn: Turn, new_run_id: Callable[[], str]) -> None:
    """Carries out everything that is due at the turn's time, in order of time."""
    ex = turn.ex
    if ex.run_expiration is not None and ex.run_expiration <= turn.now:
        time_out_run(turn, new_run_id())
        return
    if (forward := pending_fast_forward(ex)) is not None and forward <= turn.now:
        end_fast_forward(turn)
    if (due := _task_deadline(ex)) is not None and due <= turn.now:
        _fire_task(turn)
    _fire_timers(turn)
    _fire_activities(turn)


def _fire_task(turn: Turn) -> None:
    task = turn.ex.task
    if task is None:
        turn.ex.first_task_time = 0
        schedule_task(turn)
    elif task.started:
        time_out_task(turn)
    else:
        leave_queue(turn)


def _fire_timers(turn: Turn) -> None:
    due = [timer for timer in turn.ex.timers.values() if timer.fire_time <= turn.now]
    for timer in sorted(due, key=lambda t: (t.fire_time, t.started_id)):
        deliver(turn, TimerFiredEventAttributes(timer_id=timer.timer_id, started_event_id=timer.started_id))


def _fire_activities(turn: Turn) -> None:
    due: list[tuple[int, int, TimeoutType.ValueType | None]] = []
    for activity in turn.ex.activities.values():
        timer = activities.deadline(activity)
        if timer is not None and timer[0] <= turn.now:
            due.append((timer[0], activity.scheduled_id, timer[1]))
    for _, scheduled_id, kind in sorted(due, key=lambda d: d[:2]):
        activity = turn.ex.activities[scheduled_id]
        if kind is None:
            activities.offer(turn, activity)
        else:
            activities.time_out_activity(turn, activity, kind)
