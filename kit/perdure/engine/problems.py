"""TemporalReportedProblems: the search attribute by which lists find runs whose workflow task keeps failing. TEMPORAL.md, section 7.5.

It is set after some failures in a row, and taken away when a task is completed.
"""

from __future__ import annotations

import json

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.state import Execution
from perdure.engine.turn import Turn

NAME = "TemporalReportedProblems"


def failed(turn: Turn) -> None:
    """One more attempt of the workflow task came to nothing. An attempt on a sticky queue does not count."""
    ex = turn.ex
    ex.task_problems += 1
    if ex.task_problems < turn.limits.reported_problems:
        return
    entries = _problem(ex)
    fields = ex.search_attributes.indexed_fields
    data = json.dumps(entries, separators=(",", ":")).encode()
    if NAME in fields and fields[NAME].data == data:
        return
    fields[NAME].CopyFrom(Payload(metadata={"encoding": b"json/plain", "type": b"KeywordList"}, data=data))
    turn.changed()


def solved(turn: Turn) -> None:
    """A workflow task was completed."""
    ex = turn.ex
    ex.task_problems = 0
    if NAME in ex.search_attributes.indexed_fields:
        del ex.search_attributes.indexed_fields[NAME]
        turn.changed()


def _problem(ex: Execution) -> list[str]:
    """What the last event says of a failure; later attempts leave none."""
    for event in reversed(ex.events):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return ["category=WorkflowTaskFailed", f"cause=WorkflowTaskFailedCause{_cause(event)}"]
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            kind = event.workflow_task_timed_out_event_attributes.timeout_type
            name = _camel(TimeoutType.Name(kind).removeprefix("TIMEOUT_TYPE_"))
            return ["category=WorkflowTaskTimedOut", f"cause=WorkflowTaskTimedOutCause{name}"]
    return []


def _cause(event: HistoryEvent) -> str:
    cause = event.workflow_task_failed_event_attributes.cause
    return _camel(WorkflowTaskFailedCause.Name(cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_"))


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
