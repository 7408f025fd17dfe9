"""Which tasks are in flight, read from the records that the engine appends.

A workflow task is in flight from its scheduling to its completion; an activity from when an attempt is due
to when that attempt ends, so a retry's back-off is not in flight. Nothing else of the engine is asked, so
this works for every journal. An activity that no worker takes stays in flight, and holds a jumping clock
still: time cannot stand for a missing worker.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import (
    AttemptEnded,
    AttemptStarted,
    EventAppended,
    EventBuffered,
    ExecutionClosed,
    ExecutionStarted,
    Record,
)

_TASK_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
}
_ACTIVITY_ENDS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}


@dataclass(slots=True)
class _Run:
    workflow_task: bool = False
    due: dict[int, int] = field(default_factory=dict)  # scheduled event id -> when its current attempt is due


class Flights:
    """Counts tasks in flight; `observe` may be called from any thread."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self.changes = 0  # grows with each observed append: equal counts mean that nothing happened between

    def observe(self, records: Sequence[Record]) -> None:
        with self._lock:
            self.changes += 1
            for record in records:
                self._note(record)

    def count(self, now: int) -> int:
        """Tasks in flight at `now`."""
        with self._lock:
            return sum(
                run.workflow_task + sum(due <= now for due in run.due.values()) for run in self._runs.values()
            )

    def _note(self, record: Record) -> None:
        match record:
            case ExecutionStarted():
                self._runs[record.run_id] = _Run()
            case ExecutionClosed():
                self._runs.pop(record.run_id, None)
            case EventAppended(run_id=run_id, event=event) | EventBuffered(run_id=run_id, event=event):
                if run_id in self._runs:
                    _note_event(self._runs[run_id], event)
            case AttemptStarted():
                self._attempt(record.run_id, record.scheduled_event_id, 0)
            case AttemptEnded(next_attempt_time=int(due)):
                self._attempt(record.run_id, record.scheduled_event_id, due)
            case _:
                pass

    def _attempt(self, run_id: str, activity: int, due: int) -> None:
        if run_id in self._runs and activity in self._runs[run_id].due:
            self._runs[run_id].due[activity] = due


def _note_event(run: _Run, event: HistoryEvent) -> None:
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
        run.workflow_task = True
    elif event.event_type in _TASK_ENDS:
        run.workflow_task = False
    elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        run.due[event.event_id] = 0
    elif event.event_type in _ACTIVITY_ENDS:
        run.due.pop(getattr(event, _ACTIVITY_ENDS[event.event_type]).scheduled_event_id, None)
