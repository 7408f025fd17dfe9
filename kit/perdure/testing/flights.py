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


@dataclass(frozen=True, slots=True)
class Flight:
    """One task in flight. `taken`: a worker has it; `workflow`: it is a workflow task, which ends soon."""

    run_id: str
    scheduled_id: int
    attempt: int = 1
    taken: bool = field(default=False, compare=False)
    workflow: bool = False


@dataclass(slots=True)
class _Activity:
    due: int = 0  # when its current attempt is due
    attempt: int = 1
    taken: bool = False


@dataclass(slots=True)
class _Run:
    workflow_task: int = 0  # its scheduled event's id; 0 when there is none
    workflow_task_taken: bool = False
    activities: dict[int, _Activity] = field(default_factory=dict)  # by the scheduled event's id


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
        return len(self.under_way(now))

    def under_way(self, now: int) -> set[Flight]:
        """The tasks in flight at `now`."""
        with self._lock:
            found = set()
            for run_id, run in self._runs.items():
                if run.workflow_task:
                    found.add(Flight(run_id, run.workflow_task, 1, run.workflow_task_taken, workflow=True))
                for scheduled_id, activity in run.activities.items():
                    if activity.due <= now:
                        found.add(Flight(run_id, scheduled_id, activity.attempt, activity.taken))
            return found

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
                self._attempt(record.run_id, record.scheduled_event_id, _Activity(0, record.attempt, True))
            case AttemptEnded(next_attempt_time=int(due)):
                self._attempt(record.run_id, record.scheduled_event_id, _Activity(due, record.attempt + 1))
            case _:
                pass

    def _attempt(self, run_id: str, scheduled_id: int, activity: _Activity) -> None:
        if run_id in self._runs and scheduled_id in self._runs[run_id].activities:
            self._runs[run_id].activities[scheduled_id] = activity


def _note_event(run: _Run, event: HistoryEvent) -> None:
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
        run.workflow_task, run.workflow_task_taken = event.event_id, False
    elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
        run.workflow_task_taken = True
    elif event.event_type in _TASK_ENDS:
        run.workflow_task = 0
    elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        run.activities[event.event_id] = _Activity()
    elif event.event_type in _ACTIVITY_ENDS:
        run.activities.pop(getattr(event, _ACTIVITY_ENDS[event.event_type]).scheduled_event_id, None)
