"""When a run skips time, and how far. TEMPORAL.md, section 23.

A run whose config says so jumps whenever a transaction leaves it with nothing in flight: to its next timer, the next attempt of an
activity in back-off, its delayed first workflow task, its timeout, or the end of its fast-forward, whichever comes first. The jump is
the event TimeSkippingTransitioned; `virtual_time` folds it. What is then due fires as always.
"""

from __future__ import annotations

from temporalio.api.common.v1 import TimeSkippingConfig
from temporalio.api.history.v1 import WorkflowExecutionTimeSkippingTransitionedEventAttributes

from perdure.engine.errors import invalid
from perdure.engine.protos import from_duration, timestamp
from perdure.engine.state import RUNNING, Execution
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import note

MAX_SESSION_SKIPS = 200  # unless the config says otherwise


def complete_config(config: TimeSkippingConfig) -> None:
    """Fills in the default of a config that a client sent. Raises INVALID_ARGUMENT for one that makes no sense."""
    if config.max_session_skip_count <= 0:
        config.max_session_skip_count = MAX_SESSION_SKIPS
    if not config.HasField("fast_forward_config"):
        return
    if from_duration(config.fast_forward_config.duration) <= 0:
        raise invalid("Time skipping config invalid: fast_forward duration must be positive")
    if not config.fast_forward_config.id.strip():
        raise invalid("Time skipping config invalid: fast_forward_id must be set")
    if not config.enabled:
        raise invalid("time_skipping_config: cannot set fast_forward when enabled is false")


def pending_fast_forward(ex: Execution) -> int | None:
    """When the run's fast-forward ends, if one is under way."""
    skipping = ex.skipping
    if skipping is None or skipping.config is None or not skipping.config.enabled:
        return None
    forward = skipping.fast_forward
    return forward.target if forward is not None and not forward.reached else None


def idle(ex: Execution, now: int) -> bool:
    """Whether nothing is in flight: no workflow task, no activity but those in back-off, nothing under way to other executions."""
    return (
        ex.status == RUNNING  # not so when it is paused
        and ex.task is None
        and not (ex.children or ex.signals_out or ex.cancels_out)
        and all(a.attempt > 1 and not a.started and now < a.due_time for a in ex.activities.values())
    )


def next_target(ex: Execution, now: int) -> int | None:
    """The next time at which an idle run does something by itself; not yet capped by a fast-forward."""
    times = [timer.fire_time for timer in ex.timers.values()]
    times += [activity.due_time for activity in ex.activities.values()]
    if ex.first_task_time:
        times += [ex.first_task_time] if ex.first_task_time > now else []
    elif ex.run_expiration is not None:
        times.append(ex.run_expiration)
    return min((when for when in times if when >= now), default=None)


def skip(turn: Turn) -> bool:
    """At the end of a transaction: jumps, if the run may and there is something to jump to."""
    ex, now = turn.ex, turn.now
    if ex.skipping is None or ex.skipping.config is None or not ex.skipping.config.enabled:
        return False
    if not idle(ex, now):
        return False
    target, ends = next_target(ex, now), False
    forward = pending_fast_forward(ex)
    if forward is not None and (target is None or forward <= target):
        target, ends = forward if forward > now else None, True
    if target is None and not ends:
        return False
    turn.add(_transitioned(now, target, ends))
    return True


def end_fast_forward(turn: Turn) -> None:
    """The fast-forward's time has come while something was in flight: skipping stops, without a jump."""
    note(turn, _transitioned(turn.now, None, True))


def _transitioned(
    now: int, target: int | None, ends: bool
) -> WorkflowExecutionTimeSkippingTransitionedEventAttributes:
    return WorkflowExecutionTimeSkippingTransitionedEventAttributes(
        target_time=None if target is None else timestamp(target),
        disabled_after_fast_forward=ends,
        wall_clock_time=timestamp(now),
    )
