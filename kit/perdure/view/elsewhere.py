"""Events of what a workflow begins and others do: children, external workflows, Nexus operations; and markers, which a worker leaves.

Functions on a `Reader`, one for each event type; all that ends such a thing is read by one of them, from a table.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType, StartChildWorkflowExecutionFailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.view.parts import Attempt, Kind, State
from perdure.view.reader import Reader
from perdure.view.words import Fault, clean, fault, nanoseconds, payload_text, payloads_text

CLOSING: dict[int, tuple[str, State]] = {
    EventType.Value(f"EVENT_TYPE_{name}"): (f"{name.lower()}_event_attributes", state)
    for name, state in {
        "CHILD_WORKFLOW_EXECUTION_COMPLETED": State.COMPLETED,
        "CHILD_WORKFLOW_EXECUTION_FAILED": State.FAILED,
        "CHILD_WORKFLOW_EXECUTION_CANCELED": State.CANCELED,
        "CHILD_WORKFLOW_EXECUTION_TIMED_OUT": State.TIMED_OUT,
        "CHILD_WORKFLOW_EXECUTION_TERMINATED": State.TERMINATED,
        "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED": State.FAILED,
        "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED": State.COMPLETED,
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED": State.FAILED,
        "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED": State.COMPLETED,
        "NEXUS_OPERATION_COMPLETED": State.COMPLETED,
        "NEXUS_OPERATION_FAILED": State.FAILED,
        "NEXUS_OPERATION_CANCELED": State.CANCELED,
        "NEXUS_OPERATION_TIMED_OUT": State.TIMED_OUT,
    }.items()
}


def marker(reader: Reader, event: HistoryEvent, time: int) -> None:
    about = event.marker_recorded_event_attributes
    data = about.details["data"].payloads if "data" in about.details else ()
    if about.marker_name == "core_local_activity" and data:
        _local_activity(reader, event, time, _json_object(data[0].data))
    elif about.marker_name == "core_patch":
        change = about.details["patch-data"].payloads if "patch-data" in about.details else ()
        name = _json_object(change[0].data).get("id", "") if change else ""
        reader.add(Kind.NOTE, event, time, f"patched {name}".strip(), State.COMPLETED)
    else:
        reader.add(Kind.NOTE, event, time, f"marker {about.marker_name}", State.COMPLETED)


def _local_activity(reader: Reader, event: HistoryEvent, time: int, data: dict[str, Any]) -> None:
    """A local activity leaves one marker when it is done; its beginning and end are in the marker's data."""
    about = event.marker_recorded_event_attributes
    end = _instant(data.get("complete_time")) or time
    start = min(_instant(data.get("original_schedule_time")) or end, end)
    failed = about.HasField("failure")
    state = State.FAILED if failed else State.COMPLETED
    row = reader.add(Kind.LOCAL_ACTIVITY, event, start, str(data.get("activity_type", "")), state, end=end)
    row.fault = fault(about.failure) if failed else None
    row.final = failed
    row.completions = 0 if failed else 1
    if "result" in about.details:
        row.result = payloads_text(about.details["result"])
    number = max(int(data.get("attempt", 1)), 1)
    row.earlier = number - 1
    row.attempts.append(Attempt(number, state, None, start, end, row.fault))


def child_initiated(reader: Reader, event: HistoryEvent, time: int) -> None:
    about = event.start_child_workflow_execution_initiated_event_attributes
    row = reader.add(Kind.CHILD, event, time, about.workflow_type.name, workflow_id=clean(about.workflow_id))
    row.detail = row.detail or row.workflow_id


def child_started(reader: Reader, event: HistoryEvent, time: int) -> None:
    row = reader.by_event.get(event.child_workflow_execution_started_event_attributes.initiated_event_id)
    if row is not None:
        row.state = State.RUNNING


def child_not_started(reader: Reader, event: HistoryEvent, time: int) -> None:
    about = event.start_child_workflow_execution_failed_event_attributes
    taken = StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
    said = (
        f"the id {clean(about.workflow_id)} is in use already"
        if about.cause == taken
        else "could not be started"
    )
    reader.close(about.initiated_event_id, time, State.FAILED, Fault("", said))


def signal_sent(reader: Reader, event: HistoryEvent, time: int) -> None:
    about = event.signal_external_workflow_execution_initiated_event_attributes
    target = clean(about.workflow_execution.workflow_id)
    reader.add(Kind.SIGNAL_SENT, event, time, target, workflow_id=target).detail = clean(about.signal_name)


def cancel_sent(reader: Reader, event: HistoryEvent, time: int) -> None:
    about = event.request_cancel_external_workflow_execution_initiated_event_attributes
    target = clean(about.workflow_execution.workflow_id)
    reader.add(Kind.CANCEL_SENT, event, time, target, workflow_id=target).detail = clean(about.reason)


def nexus_scheduled(reader: Reader, event: HistoryEvent, time: int) -> None:
    about = event.nexus_operation_scheduled_event_attributes
    row = reader.add(Kind.NEXUS, event, time, f"{about.service}.{about.operation}")
    row.detail = row.detail or clean(about.endpoint)


def nexus_started(reader: Reader, event: HistoryEvent, time: int) -> None:
    row = reader.by_event.get(event.nexus_operation_started_event_attributes.scheduled_event_id)
    if row is not None:
        row.state = State.RUNNING


def closed_elsewhere(reader: Reader, event: HistoryEvent, time: int) -> None:
    """The end of any of these: its event names the one that began it, and has a result, or a failure, or neither."""
    field, state = CLOSING[event.event_type]
    about = getattr(event, field)
    fields = about.DESCRIPTOR.fields_by_name
    row = reader.close(
        about.initiated_event_id if "initiated_event_id" in fields else about.scheduled_event_id,
        time,
        state,
    )
    if row is None:
        return
    if "failure" in fields:
        row.fault = fault(about.failure)
    elif state is State.FAILED:
        row.fault = Fault("", "no such open workflow execution")
    if "result" in fields:
        row.result = (
            payloads_text(about.result) if isinstance(about.result, Payloads) else payload_text(about.result)
        )


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _instant(value: object) -> int | None:
    """RFC 3339 text -> ns; None when it is none."""
    stamp = Timestamp()
    try:
        stamp.FromJsonString(str(value))
    except ValueError:
        return None
    return nanoseconds(stamp)
