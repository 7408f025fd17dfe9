"""Records for the tests of the store: small, complete, one function for each thing that happens."""

from __future__ import annotations

from temporalio.api.common.v1 import Memo, Payload, Payloads, SearchAttributes
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import (
    AttemptEnded,
    AttemptStarted,
    Definition,
    EventAppended,
    EventBuffered,
    ExecutionChanged,
    ExecutionClosed,
    ExecutionStarted,
    Heartbeat,
    Output,
    Record,
)

START = 1_720_000_000_123_456_789  # 2024-07-03 09:46:40, with nanoseconds that a TIMESTAMP would lose
SECOND = 1_000_000_000


def payload(data: bytes, encoding: bytes = b"json/plain", type_name: bytes = b"") -> Payload:
    metadata = {"encoding": encoding} | ({"type": type_name} if type_name else {})
    return Payload(metadata=metadata, data=data)


def attributes(**values: tuple[str, bytes]) -> SearchAttributes:
    """Search attributes: attributes(Amount=("Int", b"120"))."""
    fields = {name: payload(data, type_name=kind.encode()) for name, (kind, data) in values.items()}
    return SearchAttributes(indexed_fields=fields)


def started(run_id: str = "r1", workflow_id: str = "payment-7", **fields: object) -> ExecutionStarted:
    values: dict[str, object] = {
        "namespace": "default",
        "workflow_id": workflow_id,
        "run_id": run_id,
        "first_run_id": run_id,
        "workflow_type": "payment",
        "task_queue": "perdure",
        "start_time": START,
        "execution_time": START,
    }
    return ExecutionStarted(**(values | fields))  # type: ignore[arg-type]


def event(event_id: int, kind: str, *, at: int = 0, **fields: object) -> HistoryEvent:
    """event(5, "TIMER_FIRED", at=3, timer_id="1"): `at` is in seconds after START."""
    made = HistoryEvent(event_id=event_id, event_type=EventType.Value(f"EVENT_TYPE_{kind}"))
    made.event_time.FromNanoseconds(START + at * SECOND)
    made_attributes = getattr(made, f"{kind.lower()}_event_attributes")
    made_attributes.MergeFrom(type(made_attributes)(**fields))
    return made


def scheduled(event_id: int = 5, name: str = "charge", *inputs: bytes) -> HistoryEvent:
    return event(
        event_id,
        "ACTIVITY_TASK_SCHEDULED",
        activity_id=f"a{event_id}",
        activity_type={"name": name},
        input=Payloads(payloads=[payload(data) for data in inputs]),
    )


def failure(message: str = "card declined", type_name: str = "CardError") -> Failure:
    return Failure(message=message, application_failure_info={"type": type_name})  # type: ignore[arg-type]


def activity_with_a_retry() -> list[Record]:
    """Run r1: an activity that failed once and completed at its second attempt."""
    return [
        started(version="v1"),
        EventAppended("r1", scheduled(5, "charge", b'{"id": 7, "amount": 120}', b'"EUR"')),
        AttemptStarted("r1", 5, 1, START, START + SECOND, "perdure-1-aa@host", "perdure-1-aa@host"),
        AttemptEnded("r1", 5, 1, START + 3 * SECOND, "failed", failure(), START + 4 * SECOND),
        AttemptStarted("r1", 5, 2, START + 4 * SECOND, START + 4 * SECOND, "perdure-2-bb@host", ""),
        AttemptEnded("r1", 5, 2, START + 6 * SECOND, "completed"),
        EventAppended("r1", event(6, "ACTIVITY_TASK_STARTED", at=4, scheduled_event_id=5, attempt=2)),
        EventAppended(
            "r1",
            event(
                7,
                "ACTIVITY_TASK_COMPLETED",
                at=6,
                scheduled_event_id=5,
                started_event_id=6,
                result=Payloads(payloads=[payload(b'"charge-1"')]),
            ),
        ),
    ]


def one_of_each() -> list[Record]:
    """Every kind of record, with every field set."""
    memo = Memo(fields={"note": payload(b'"first"')})
    found = attributes(Colour=("Keyword", b'"red"'), Amount=("Int", b"120"))
    return [
        started(
            first_run_id="r0",
            request_id="request-1",
            version="v1",
            parent_workflow_id="parent",
            parent_run_id="p1",
            execution_time=START + SECOND,
            memo=memo,
            search_attributes=found,
        ),
        ExecutionChanged("r1", START + 2, "v2", Memo(fields={"note": payload(b'"second"')}), found),
        EventAppended("r1", event(1, "WORKFLOW_EXECUTION_SIGNALED", signal_name="stop"), buffer_seq=1),
        EventBuffered("r1", 1, event(0, "WORKFLOW_EXECUTION_SIGNALED", signal_name="stop")),
        EventBuffered("r1", 2, event(0, "WORKFLOW_EXECUTION_SIGNALED", signal_name="go")),
        AttemptStarted("r1", 5, 1, START + 1, START + 2, "identity", "process"),
        AttemptEnded("r1", 5, 1, START + 3, "failed", failure(), START + 4),
        Heartbeat("r1", 5, 1, START + 5, None),
        Heartbeat("r1", 5, 1, START + 6, Payloads(payloads=[payload(b"[1, 2]")])),
        Definition(
            "activity", "charge", "v1", "cells.charge", "charge", "def charge(): ...", "In [3]", "{}", 9
        ),
        Output("r1", 5, 1, START + 7, "stdout", "charging\n"),
        ExecutionClosed("r1", 2, START + 8 * SECOND, 11, 2_345, "r2"),
    ]
