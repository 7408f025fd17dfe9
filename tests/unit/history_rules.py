"""What Temporal's SDKs demand of a history, as one pure function. TEMPORAL.md, section 24.

`problems(events)` names what their state machines would refuse: ids with holes, command events that stand apart from the
workflow task that made them, outcomes of things that never began or ended already, anything after the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine_driver import name
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.protos import attributes_of

_PAUSED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED

COMMANDS = {  # events that a command makes
    "ActivityTaskScheduled",
    "ActivityTaskCancelRequested",
    "TimerStarted",
    "TimerCanceled",
    "MarkerRecorded",
    "StartChildWorkflowExecutionInitiated",
    "SignalExternalWorkflowExecutionInitiated",
    "RequestCancelExternalWorkflowExecutionInitiated",
    "UpsertWorkflowSearchAttributes",
    "WorkflowPropertiesModified",
    "WorkflowExecutionUpdateAccepted",
    "WorkflowExecutionUpdateCompleted",
    "WorkflowExecutionCompleted",
    "WorkflowExecutionFailed",
    "WorkflowExecutionCanceled",
    "WorkflowExecutionContinuedAsNew",
}
CLOSING = {
    "WorkflowExecutionCompleted",
    "WorkflowExecutionFailed",
    "WorkflowExecutionCanceled",
    "WorkflowExecutionContinuedAsNew",
    "WorkflowExecutionTerminated",
    "WorkflowExecutionTimedOut",
}
# what begins -> the events that may end it, and by which field they name its beginning
OUTCOMES = {
    "ActivityTaskScheduled": (
        {"ActivityTaskCompleted", "ActivityTaskFailed", "ActivityTaskTimedOut", "ActivityTaskCanceled"},
        "scheduled_event_id",
    ),
    "TimerStarted": ({"TimerFired", "TimerCanceled"}, "started_event_id"),
    "StartChildWorkflowExecutionInitiated": (
        {
            "StartChildWorkflowExecutionFailed",
            "ChildWorkflowExecutionCompleted",
            "ChildWorkflowExecutionFailed",
            "ChildWorkflowExecutionCanceled",
            "ChildWorkflowExecutionTimedOut",
            "ChildWorkflowExecutionTerminated",
        },
        "initiated_event_id",
    ),
    "SignalExternalWorkflowExecutionInitiated": (
        {"SignalExternalWorkflowExecutionFailed", "ExternalWorkflowExecutionSignaled"},
        "initiated_event_id",
    ),
    "RequestCancelExternalWorkflowExecutionInitiated": (
        {
            "RequestCancelExternalWorkflowExecutionFailed",
            "ExternalWorkflowExecutionCancelRequested",
        },
        "initiated_event_id",
    ),
    "WorkflowExecutionUpdateAccepted": ({"WorkflowExecutionUpdateCompleted"}, "accepted_event_id"),
}
_ENDS = {end: (begin, by) for begin, (ends, by) in OUTCOMES.items() for end in ends}
_STARTS = {  # events that say that something is under way -> its beginning, and the field that names it
    "ActivityTaskStarted": ("ActivityTaskScheduled", "scheduled_event_id"),
    "ChildWorkflowExecutionStarted": ("StartChildWorkflowExecutionInitiated", "initiated_event_id"),
}
_IGNORABLE = {
    "WorkflowExecutionOptionsUpdated",
    "WorkflowExecutionTimeSkippingTransitioned",
    "WorkflowExecutionPaused",
    "WorkflowExecutionUnpaused",
}


@dataclass
class _Reading:
    names: dict[int, str] = field(default_factory=dict)  # event id -> what it is
    open: dict[int, str] = field(default_factory=dict)  # beginnings without an outcome
    started: dict[int, int] = field(default_factory=dict)  # beginning -> its Started event
    cancelled: set[int] = field(default_factory=set)
    task: str = ""  # the pending workflow task: "", "scheduled" or "started"
    task_id: int = 0  # of the event that put it there
    completed: int = 0  # the WorkflowTaskCompleted whose commands are being read; 0 when they are over
    closed: bool = False


def problems(events: Sequence[HistoryEvent]) -> list[str]:
    """What is wrong, as sentences; empty for a good history."""
    reading = _Reading()
    found = []
    for number, event in enumerate(events, 1):
        found += [f"{event.event_id} {name(event)}: {text}" for text in _read(reading, number, event)]
    return found


def pending(events: Sequence[HistoryEvent]) -> dict[int, str]:
    """What has begun and not ended: event id -> the name of its first event."""
    reading = _Reading()
    for number, event in enumerate(events, 1):
        list(_read(reading, number, event))
    return reading.open


def _read(reading: _Reading, number: int, event: HistoryEvent) -> Iterator[str]:
    what = name(event)
    if event.event_id != number:
        yield f"stands at place {number}"
    if (what == "WorkflowExecutionStarted") != (number == 1):
        yield "is not what a history begins with"
    if reading.closed:
        yield "comes after the end"
    if what in _IGNORABLE and not event.worker_may_ignore:
        yield "is unknown to SDKs, and may not be ignored"
    yield from _task(reading, what, event)
    yield from _commands(reading, what, event)
    yield from _machines(reading, what, event)
    reading.names[event.event_id] = what
    reading.closed = what in CLOSING


def _task(reading: _Reading, what: str, event: HistoryEvent) -> Iterator[str]:
    if reading.task == "started" and not what.startswith("WorkflowTask"):
        yield "stands between a workflow task's start and its end"
    match what:
        case "WorkflowTaskScheduled":
            if reading.task:
                yield "a second workflow task"
            reading.task, reading.task_id = "scheduled", event.event_id
        case "WorkflowTaskStarted":
            scheduled = event.workflow_task_started_event_attributes.scheduled_event_id
            if reading.task != "scheduled" or scheduled != reading.task_id:
                yield "no such workflow task is scheduled"
            reading.task, reading.task_id = "started", event.event_id
        case "WorkflowTaskCompleted":
            started = event.workflow_task_completed_event_attributes.started_event_id
            if reading.task != "started" or started != reading.task_id:
                yield "no such workflow task is started"
            reading.task = ""
        case "WorkflowTaskFailed":
            attributes = event.workflow_task_failed_event_attributes
            wanted, state = attributes.started_event_id, "started"
            if attributes.cause == _PAUSED:  # before anyone took the task
                wanted, state = attributes.scheduled_event_id, "scheduled"
            if reading.task != state or wanted != reading.task_id:
                yield f"no such workflow task is {state}"
            reading.task = ""
        case "WorkflowTaskTimedOut":
            attributes = event.workflow_task_timed_out_event_attributes
            wanted = attributes.started_event_id or attributes.scheduled_event_id
            if not reading.task or wanted != reading.task_id:
                yield "no such workflow task is pending"
            reading.task = ""


def _commands(reading: _Reading, what: str, event: HistoryEvent) -> Iterator[str]:
    if what == "WorkflowTaskCompleted":
        reading.completed = event.event_id
    elif what not in COMMANDS:
        reading.completed = 0
    elif not reading.completed:
        yield "does not follow the workflow task that commanded it"
    else:
        by = getattr(attributes_of(event), "workflow_task_completed_event_id", reading.completed)
        if by != reading.completed:
            yield f"says that workflow task {by} commanded it; {reading.completed} did"


def _machines(reading: _Reading, what: str, event: HistoryEvent) -> Iterator[str]:
    attributes = attributes_of(event)
    if what in OUTCOMES:
        reading.open[event.event_id] = what
    elif what in _STARTS:
        begin, by = _STARTS[what]
        begun = getattr(attributes, by)
        if reading.open.get(begun) != begin:
            yield f"starts {begun}, which is not pending"
        if begun in reading.started:
            yield f"starts {begun} again"
        reading.started[begun] = event.event_id
    if what == "ActivityTaskCancelRequested":
        begun = event.activity_task_cancel_requested_event_attributes.scheduled_event_id
        if reading.names.get(begun) != "ActivityTaskScheduled" or begun in reading.cancelled:
            yield f"cancels {begun}, which is no activity, or was cancelled before"
        reading.cancelled.add(begun)
    if what in _ENDS:
        begin, by = _ENDS[what]
        begun = getattr(attributes, by)
        if reading.open.pop(begun, "") != begin:
            yield f"ends {begun}, which is not pending"
        if begin in ("ActivityTaskScheduled", "StartChildWorkflowExecutionInitiated"):
            said = getattr(attributes, "started_event_id", 0)
            if said != reading.started.get(begun, 0):
                yield f"says that it was started by event {said}, not {reading.started.get(begun, 0)}"
        if what == "ActivityTaskCanceled" and begun not in reading.cancelled:
            yield "nobody asked for that"
        if what == "ActivityTaskCompleted" and begun not in reading.started:
            yield "completed without a start"
