"""Payloads and event attributes as plain Python values, for tables and texts.

Decoding is for reading, not for running: what the SDK's default converter wrote as JSON becomes its value,
and anything else (encrypted, compressed, a foreign encoding) becomes a short text that says what it is.
Nothing here ever raises because of what a payload holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Header, Memo, Payload, Payloads, SearchAttributes
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.history.times import iso, nanoseconds


def value(payload: Payload) -> Any:
    """What a payload holds."""
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("json/"):
        try:
            return json.loads(payload.data)
        except ValueError:
            return f"<{encoding} that is no JSON, {len(payload.data)} bytes>"
    if encoding == "binary/plain":
        return payload.data
    return f"<{encoding or 'payload without encoding'}, {len(payload.data)} bytes>"


def values(payloads: Payloads | None) -> list[Any]:
    return [value(payload) for payload in payloads.payloads] if payloads is not None else []


def attributes(event: HistoryEvent) -> dict[str, Any]:
    """The attributes of an event by their names in Temporal's API, with decoded payloads; unset ones are
    left out."""
    which = event.WhichOneof("attributes")
    return plain(getattr(event, which)) if which else {}


def plain(message: Message) -> dict[str, Any]:
    """The set fields of a message as JSON-like values."""
    return {field.name: _field(message, field, held) for field, held in message.ListFields()}


def _field(message: Message, field: Any, held: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {key: _single(field.message_type.fields_by_name["value"], item) for key, item in held.items()}
    if isinstance(held, (str, bytes, Message)) or not isinstance(held, Sequence):
        return _single(field, held)
    return [_single(field, item) for item in held]


def _single(field: Any, held: Any) -> Any:
    match held:
        case Payload():
            return value(held)
        case Payloads():
            return values(held)
        case Memo() | Header():
            return {key: value(payload) for key, payload in held.fields.items()}
        case SearchAttributes():
            return {key: value(payload) for key, payload in held.indexed_fields.items()}
        case Timestamp():
            return iso(nanoseconds(held))
        case Duration():
            return nanoseconds(held) / 1e9
        case Message():
            return plain(held)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(held)
        return known.name if known is not None else held
    return held


def event_name(event: HistoryEvent) -> str:
    """As Temporal's documentation writes it: "ActivityTaskScheduled"."""
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def status_name(status: int) -> str:
    """As list filters and people write it: "Running", "ContinuedAsNew"."""
    known = WorkflowExecutionStatus.DESCRIPTOR.values_by_number.get(status)
    words = known.name.removeprefix("WORKFLOW_EXECUTION_STATUS_").split("_") if known else ["UNSPECIFIED"]
    return "".join(word.capitalize() for word in words)


STATUSES = tuple(status_name(number) for number in WorkflowExecutionStatus.values() if number)


def failure_text(failure: Failure | None) -> str:
    """A failure in one line: its type and message, then its causes."""
    if failure is None or not failure.ByteSize():
        return ""
    kind = failure.application_failure_info.type or failure.timeout_failure_info.timeout_type
    name = kind if isinstance(kind, str) else "timed out" if kind else ""
    text = f"{name}: {failure.message}" if name and name not in failure.message else failure.message or name
    cause = failure_text(failure.cause) if failure.HasField("cause") else ""
    return f"{text} ← {cause}" if cause else text
