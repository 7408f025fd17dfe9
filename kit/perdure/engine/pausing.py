"""Pausing a run as a whole. TEMPORAL.md, section 18.

A paused run is open, and hears all that comes: signals, timers, its activities' ends. But nothing of it is handed to workers, neither
workflow tasks nor activities, until it is resumed. What a worker has taken before it may still finish.
"""

from __future__ import annotations

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import (
    WorkflowExecutionPausedEventAttributes,
    WorkflowExecutionUnpausedEventAttributes,
    WorkflowTaskFailedEventAttributes,
)

from perdure.engine import activities
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import note, schedule_task, unschedule_virtual


def pause(turn: Turn, event: WorkflowExecutionPausedEventAttributes) -> None:
    """A workflow task that nobody has taken yet fails, as if it had never been; the next comes when the run is resumed."""
    ex = turn.ex
    unschedule_virtual(turn)
    if ex.task is not None and not ex.task.started:
        turn.add(
            WorkflowTaskFailedEventAttributes(
                scheduled_event_id=ex.task.scheduled_id,
                cause=WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED,
                identity="history-service",
            )
        )
    note(turn, event)
    turn.changed()


def resume(turn: Turn, event: WorkflowExecutionUnpausedEventAttributes) -> None:
    """Hands out again what waited: the activities that are due, and a workflow task."""
    ex = turn.ex
    note(turn, event)
    for activity in ex.activities.values():
        if not activity.started and activity.offered:
            activity.stamp = ex.new_stamp()
            activities.offer(turn, activity)
    if ex.first_task_time <= turn.now:  # else it begins later
        schedule_task(turn)
    turn.changed()
