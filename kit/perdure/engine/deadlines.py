"""All durable timers of a run, derived from its state: when the next is due (in the run's own time), and what happens then.

Nothing is armed or cancelled: the shell asks for `next_deadline` after each turn, and recovery needs no more than that.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.history.v1 import TimerFiredEventAttributes

from perdure.engine import activities
from perdure.engine.closing import time_out_run
from perdure.engine.state import Execution
from perdure.engine.time_skipping import end_fast_forward, pending_fast_forward
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import deliver, leave_sticky_queue, schedule_task, time_out_task


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


def _task_deadline(ex: Execution) -> int | None:
    task = ex.task
    if task is None:
        return ex.first_task_time or None
    if task.started:
        return task.started_time + task.timeout
    if task.sticky and ex.sticky_timeout:
        return task.scheduled_time + ex.sticky_timeout
    return None


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
        leave_sticky_queue(turn)


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
