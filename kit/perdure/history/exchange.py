"""Histories in Temporal's JSON, as its CLI and web UI write and read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perdure.engine.records import ExecutionStarted, RunRecords
from perdure.errors import RunError
from perdure.history.times import nanoseconds

if TYPE_CHECKING:
    from temporalio.client import WorkflowHistory


def history(records: RunRecords) -> WorkflowHistory:
    """The events as the SDK's own value, for its Replayer."""
    from temporalio.client import WorkflowHistory

    return WorkflowHistory(records.started.workflow_id, list(records.events))


def to_json(records: RunRecords, indent: int | None = 2) -> str:
    """The history as `temporal workflow show --output json` writes it."""
    return json.dumps(history(records).to_json_dict(), indent=indent)


def from_json(text: str, workflow_id: str = "imported") -> RunRecords:
    """The records of a history that any Temporal tool wrote, to be drawn, tabled or replayed. Raises
    RunError."""
    from temporalio.client import WorkflowHistory

    try:
        events = list(WorkflowHistory.from_json(workflow_id, text).events)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"This is no Temporal history: {error}", "Export one with `temporal workflow show --output json`."
        ) from error
    if not events or not events[0].HasField("workflow_execution_started_event_attributes"):
        raise RunError("This history does not begin with WorkflowExecutionStarted.", "Export it whole.")
    first = events[0].workflow_execution_started_event_attributes
    began = nanoseconds(events[0].event_time)
    started = ExecutionStarted(
        namespace="default",
        workflow_id=first.workflow_id or workflow_id,
        run_id=first.original_execution_run_id,
        first_run_id=first.first_execution_run_id,
        workflow_type=first.workflow_type.name,
        task_queue=first.task_queue.name,
        start_time=began,
        execution_time=began + nanoseconds(first.first_workflow_task_backoff),
    )
    return RunRecords(started, events=events)
