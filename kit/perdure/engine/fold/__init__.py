"""`apply`: history events -> the state of a run. The same function serves live decisions and recovery.

One small function for each event type that changes state, in `runs`, `tasks` and `pending`; events that only stand in the history
are not listed.
"""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine import virtual_time
from perdure.engine.fold import pending, runs, tasks
from perdure.engine.fold.runs import pinned_version, set_options
from perdure.engine.state import Execution

__all__ = ["absorb", "apply", "pinned_version"]

_APPLY = {**runs.TABLE, **tasks.TABLE, **pending.TABLE}
_TASK_EVENTS = frozenset(
    (
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    )
)


def apply(ex: Execution, event: HistoryEvent) -> None:
    """Appends `event` to the run's history and folds it into its state."""
    ex.events.append(event)
    ex.history_size += event.ByteSize()
    if ex.task_owed and ex.task is None and event.event_type not in _TASK_EVENTS:
        ex.task_attempt = 1  # whatever came after a failure makes the next task a first attempt
    change = _APPLY.get(event.event_type)
    if change is not None:
        change(ex, event)


def absorb(ex: Execution, event: HistoryEvent) -> None:
    """Folds a *buffered* event as far as it counts at once: what has ended is no longer pending, what came is not taken twice."""
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            if request_id := event.workflow_execution_signaled_event_attributes.request_id:
                ex.signal_requests[request_id] = 0
        case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            attributes = event.child_workflow_execution_started_event_attributes
            if child := ex.children.get(attributes.initiated_event_id):
                child.run_id = attributes.workflow_execution.run_id
        case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            pass
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
            set_options(ex, event)
            virtual_time.options_updated(ex, event)
            virtual_time.absorbed(ex, event)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED:
            virtual_time.transitioned(ex, event)
            virtual_time.absorbed(ex, event)
        case _:
            if change := _APPLY.get(event.event_type):
                change(ex, event)
