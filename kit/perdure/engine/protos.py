"""Small conversions between Temporal's messages and the engine's integers (nanoseconds)."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


def timestamp(when: int) -> Timestamp:
    return Timestamp(seconds=when // SECOND, nanos=when % SECOND)


def from_timestamp(when: Timestamp) -> int:
    return when.seconds * SECOND + when.nanos


def duration(length: int) -> Duration:
    return Duration(seconds=length // SECOND, nanos=length % SECOND)


def from_duration(length: Duration) -> int:
    return length.seconds * SECOND + length.nanos


def _event_types() -> tuple[dict[str, tuple[int, str]], dict[int, str]]:
    """By attribute message name: (event type, field of HistoryEvent); and by event type: that field."""
    by_message: dict[str, tuple[int, str]] = {}
    by_type: dict[int, str] = {}
    fields = HistoryEvent.DESCRIPTOR.fields_by_name
    for name, number in EventType.items():
        field = name.removeprefix("EVENT_TYPE_").lower() + "_event_attributes"
        if field in fields:
            message = fields[field].message_type
            assert message is not None
            by_message[message.name] = (number, field)
            by_type[number] = field
    return by_message, by_type


EVENT_BY_MESSAGE, FIELD_BY_TYPE = _event_types()


def attributes_of(event: HistoryEvent) -> Message:
    """The attributes message of an event."""
    attributes: Message = getattr(event, FIELD_BY_TYPE[event.event_type])
    return attributes


def copy_shared(source: Message, target: Message) -> None:
    """Copies the fields that both messages have under the same name; `source`'s are of the same types."""
    for field, value in source.ListFields():
        if field.name not in target.DESCRIPTOR.fields_by_name:
            continue
        inner = getattr(target, field.name)
        if isinstance(inner, Message):
            inner.CopyFrom(value)
        elif hasattr(inner, "extend"):
            inner.extend(value)
        else:
            setattr(target, field.name, value)
