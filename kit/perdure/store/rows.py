"""Records as rows: one function for each record kind gives the row that is appended to its table.

The protobuf message in a row is what is read back (`perdure.store.reader`). The columns beside it are drawn
from it here, on the writer's thread, and must stay cheap: attributes are found by getters made once for
each event type, and payloads are not decoded but pointed at (see `payloads_at` in 0001_journal.sql).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import (
    ActivityChanged,
    AttemptEnded,
    AttemptStarted,
    Definition,
    EventAppended,
    EventBuffered,
    ExecutionChanged,
    ExecutionClosed,
    ExecutionReset,
    ExecutionStarted,
    Heartbeat,
    Kept,
    Output,
    Record,
    VersionsNoted,
)

Row: TypeAlias = tuple[object, ...]

_JSON_ENCODINGS = (b"json/plain", b"json/protobuf")
_NAMES = (
    "activity_type.name",
    "signal_name",
    "marker_name",
    "workflow_type.name",
    "accepted_request.input.name",
)
_SUBJECTS = (
    "activity_id",
    "timer_id",
    "workflow_execution.workflow_id",
    "workflow_id",
    "protocol_instance_id",
    "meta.update_id",
)
_CAUSES = ("scheduled_event_id", "initiated_event_id", "started_event_id")
_PAYLOADS = (
    "input.payloads",
    "result.payloads",
    "details.payloads",
    "accepted_request.input.args.payloads",
    "outcome.success.payloads",
)

Getter: TypeAlias = Callable[[Any], Any]


class EventColumns(NamedTuple):
    """How to find the columns of one event type in its attributes; None where the type has no such thing."""

    event_type: str
    attributes: str  # name of the field of HistoryEvent
    name: Getter | None
    subject_id: Getter | None
    cause_event_id: Getter | None
    failure: Getter | None
    payloads: Getter | None


def _getter(message: Descriptor, paths: Iterable[str]) -> Getter | None:
    """A getter for the first of the dotted paths that the message type has."""
    return next((attrgetter(path) for path in paths if _has_path(message, path)), None)


def _has_path(message: Descriptor, path: str) -> bool:
    step: Descriptor | None = message
    *parents, last = path.split(".")
    for part in parents:
        field = step.fields_by_name.get(part) if step is not None else None
        if field is None or (field.message_type and field.message_type.GetOptions().map_entry):
            return False
        step = field.message_type
    return step is not None and last in step.fields_by_name


@cache
def event_columns(event_type: EventType.ValueType) -> EventColumns:
    """Where the columns of an event type are.

    A type that this version does not know yet has its number for a name.
    """
    enum_name = EventType.Name(event_type) if event_type in EventType.values() else f"EVENT_TYPE_{event_type}"
    field_name = enum_name.removeprefix("EVENT_TYPE_").lower() + "_event_attributes"
    field = HistoryEvent.DESCRIPTOR.fields_by_name.get(field_name)
    title = enum_name.removeprefix("EVENT_TYPE_").title().replace("_", "")
    if field is None or field.message_type is None:
        return EventColumns(title, "", None, None, None, None, None)
    attributes = field.message_type
    return EventColumns(
        title,
        field_name,
        _getter(attributes, _NAMES),
        _getter(attributes, _SUBJECTS),
        _getter(attributes, _CAUSES),
        _getter(attributes, ("failure",)),
        _getter(attributes, _PAYLOADS),
    )


def payloads_at(message: bytes, payloads: Iterable[Payload]) -> list[int]:
    """Where the data of each payload lies in a serialised message:

    [offset, length, ...], offset -1 when it is not JSON.
    """
    places: list[int] = []
    position = 0
    for payload in payloads:
        data = payload.data
        if payload.metadata["encoding"] in _JSON_ENCODINGS:
            position = message.index(data, position)
            places += (position, len(data))
            position += len(data)
        else:
            places += (-1, len(data))
    return places


def failure_text(failure: Failure) -> str:
    """A failure in a line:

    The first one down the chain that is not only a wrapper of an activity or a child.
    """
    while failure.HasField("cause") and (
        failure.HasField("activity_failure_info") or failure.HasField("child_workflow_execution_failure_info")
    ):
        failure = failure.cause
    if failure.HasField("application_failure_info") and failure.application_failure_info.type:
        return f"{failure.application_failure_info.type}: {failure.message}"
    if failure.HasField("timeout_failure_info"):
        kind = (
            TimeoutType.Name(failure.timeout_failure_info.timeout_type).removeprefix("TIMEOUT_TYPE_").lower()
        )
        return f"{failure.message} ({kind.replace('_', '-')} timeout)"
    return failure.message


def json_of(fields: Mapping[str, Payload]) -> str:
    """A memo or search attributes as a JSON object; values that are not JSON as null."""
    return json.dumps({name: _value(payload) for name, payload in fields.items()}, ensure_ascii=False)


def attributes_json(fields: Mapping[str, Payload]) -> str:
    """Search attributes likewise. One that is no list may be given as a list of one, as Temporal allows."""
    found = {name: _value(payload) for name, payload in fields.items()}
    for name, value in found.items():
        if isinstance(value, list) and len(value) == 1 and fields[name].metadata["type"] != b"KeywordList":
            found[name] = value[0]
    return json.dumps(found, ensure_ascii=False)


def _value(payload: Payload) -> object:
    if payload.metadata["encoding"] not in _JSON_ENCODINGS:
        return None
    try:
        return json.loads(payload.data)
    except ValueError:
        return None


def event_row(seq: int, record: EventAppended) -> Row:
    event = record.event
    columns = event_columns(event.event_type)
    body = event.SerializeToString()
    time_ns = event.event_time.seconds * 1_000_000_000 + event.event_time.nanos
    name = subject = cause = delay = failure = places = None
    if columns.attributes:
        attributes = getattr(event, columns.attributes)
        name = columns.name and columns.name(attributes)
        subject = columns.subject_id and columns.subject_id(attributes)
        cause = columns.cause_event_id and columns.cause_event_id(attributes)
        if columns.payloads:
            places = payloads_at(body, columns.payloads(attributes))
        if columns.failure and attributes.HasField("failure"):
            failure = failure_text(columns.failure(attributes))
        if columns.event_type == "TimerStarted":
            delay = attributes.start_to_fire_timeout.ToNanoseconds()
    return (
        *(seq, record.run_id, event.event_id, time_ns, columns.event_type, name, subject),
        *(cause, delay, failure, places, record.buffer_seq, body),
    )


def _bytes(message: Message | None) -> bytes | None:
    return None if message is None else message.SerializeToString()


def _text(text: str) -> str:
    """Text that can be kept as UTF-8: what people print may hold lone surrogates, which become '?'."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def execution_start_row(seq: int, r: ExecutionStarted) -> Row:
    return (
        *(
            seq,
            r.namespace,
            r.workflow_id,
            r.run_id,
            r.first_run_id,
            r.workflow_type,
            r.task_queue,
            r.start_time,
            r.execution_time,
        ),
        *(
            r.request_id,
            r.version,
            r.parent_workflow_id,
            r.parent_run_id,
            _bytes(r.memo),
            _bytes(r.search_attributes),
        ),
        *(
            r.memo and json_of(r.memo.fields),
            r.search_attributes and attributes_json(r.search_attributes.indexed_fields),
        ),
        *(r.root_workflow_id, r.root_run_id, r.division),
    )


def execution_change_row(seq: int, r: ExecutionChanged) -> Row:
    return (
        *(seq, r.run_id, r.time, r.version, _bytes(r.memo), _bytes(r.search_attributes)),
        *(
            r.memo and json_of(r.memo.fields),
            r.search_attributes and attributes_json(r.search_attributes.indexed_fields),
        ),
        r.status,
    )


def execution_close_row(seq: int, r: ExecutionClosed) -> Row:
    return (
        *(seq, r.run_id, r.status, r.close_time, r.history_length, r.history_size_bytes, r.new_run_id),
        r.state_transitions,
    )


def versions_row(seq: int, r: VersionsNoted) -> Row:
    return (seq, r.run_id, r.time, r.text)


def execution_reset_row(seq: int, r: ExecutionReset) -> Row:
    return (seq, r.run_id, r.time, r.new_run_id)


def activity_change_row(seq: int, r: ActivityChanged) -> Row:
    return (
        *(seq, r.run_id, r.scheduled_event_id, r.time, r.action, r.identity, _text(r.reason), r.request_id),
        *(r.deferred, r.info.paused, _bytes(r.info)),
    )


def kept_row(seq: int, r: Kept) -> Row:
    return (seq, r.kind, r.namespace, r.id, r.time, r.body)


def buffered_event_row(seq: int, r: EventBuffered) -> Row:
    return (seq, r.run_id, r.buffer_seq, r.event.SerializeToString())


def attempt_start_row(seq: int, r: AttemptStarted) -> Row:
    return (
        seq,
        r.run_id,
        r.scheduled_event_id,
        r.attempt,
        r.scheduled_time,
        r.started_time,
        r.identity,
        r.process,
        r.sdk_name,
        r.sdk_version,
    )


def attempt_end_row(seq: int, r: AttemptEnded) -> Row:
    text = None if r.failure is None else failure_text(r.failure)
    return (
        *(
            seq,
            r.run_id,
            r.scheduled_event_id,
            r.attempt,
            r.ended_time,
            r.outcome,
            r.next_attempt_time,
            text,
            _bytes(r.failure),
        ),
    )


def heartbeat_row(seq: int, r: Heartbeat) -> Row:
    body = _bytes(r.details)
    places = None if r.details is None or body is None else payloads_at(body, r.details.payloads)
    return (seq, r.run_id, r.scheduled_event_id, r.attempt, r.time, places, body, r.total)


def definition_row(seq: int, r: Definition) -> Row:
    return (
        seq,
        r.kind,
        r.name,
        r.version,
        r.module,
        r.attribute,
        _text(r.source),
        _text(r.origin),
        r.options,
        r.defined_time,
    )


def output_row(seq: int, r: Output) -> Row:
    return (seq, r.run_id, r.scheduled_event_id, r.attempt, r.time, r.stream, _text(r.text))


# ExecutionDeleted has no table: it takes rows away from these
TABLES: dict[type[Record], tuple[str, Callable[[int, Any], Row]]] = {
    ExecutionStarted: ("execution_starts", execution_start_row),
    ExecutionChanged: ("execution_changes", execution_change_row),
    ExecutionClosed: ("execution_closes", execution_close_row),
    ExecutionReset: ("execution_resets", execution_reset_row),
    VersionsNoted: ("versions_noted", versions_row),
    ActivityChanged: ("activity_changes", activity_change_row),
    Kept: ("kept", kept_row),
    EventAppended: ("events", event_row),
    EventBuffered: ("buffered_events", buffered_event_row),
    AttemptStarted: ("attempt_starts", attempt_start_row),
    AttemptEnded: ("attempt_ends", attempt_end_row),
    Heartbeat: ("heartbeats", heartbeat_row),
    Definition: ("definitions", definition_row),
    Output: ("outputs", output_row),
}

RUN_TABLES = tuple(table for kind, (table, _) in TABLES.items() if kind not in (Definition, Kept))
