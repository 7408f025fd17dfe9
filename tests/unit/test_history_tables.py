"""Records as frames, payloads as values, failures as lines."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import ActivityType, Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes, HistoryEvent

from perdure.engine.records import AttemptEnded, AttemptStarted, ExecutionStarted, RunRecords
from perdure.history import attempts_frame, events_frame
from perdure.history.payloads import failure_text, status_name, value

RUN = ExecutionStarted("default", "w", "r", "r", "payment", "perdure", 0, 0)
SECOND = 1_000_000_000


def json_payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


SCHEDULED = HistoryEvent(
    event_id=5,
    event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    activity_task_scheduled_event_attributes=ActivityTaskScheduledEventAttributes(
        activity_id="1",
        activity_type=ActivityType(name="charge"),
        input=Payloads(payloads=[json_payload('{"id": 7}')]),
        start_to_close_timeout=Duration(seconds=30),
    ),
)


def test_an_event_is_a_row_with_decoded_payloads() -> None:
    row = events_frame(RunRecords(RUN, [SCHEDULED])).loc[5]
    assert (row["type"], row["name"], row["input"]) == ("ActivityTaskScheduled", "charge", [{"id": 7}])
    assert row["attributes"]["start_to_close_timeout"] == 30.0


def test_attempts_with_their_waits_and_one_that_never_started() -> None:
    failure = Failure(
        message="no route", application_failure_info=ApplicationFailureInfo(type="ConnectionError")
    )
    records = RunRecords(
        RUN,
        [SCHEDULED],
        attempt_starts=[
            AttemptStarted("r", 5, 1, 0, SECOND, "a", "a"),
            AttemptStarted("r", 5, 2, 4 * SECOND, 4 * SECOND, "b", "b"),
        ],
        attempt_ends=[
            AttemptEnded("r", 5, 1, 2 * SECOND, "failed", failure, 4 * SECOND),
            AttemptEnded("r", 9, 1, 6 * SECOND, "timed_out"),
        ],
    )
    frame = attempts_frame(records)
    assert frame["outcome"].tolist() == ["failed", "running", "timed_out"]
    assert frame["failure"].tolist() == ["ConnectionError: no route", "", ""]
    first = frame.iloc[0]
    assert [first[name].total_seconds() for name in ("waited", "ran", "backoff")] == [1.0, 1.0, 2.0]


def test_a_run_without_attempts_gives_an_empty_frame_with_its_columns() -> None:
    assert attempts_frame(RunRecords(RUN))["backoff"].dtype.kind == "m"
    assert events_frame(RunRecords(RUN)).empty


def test_payloads_of_any_encoding_are_values() -> None:
    assert value(Payload(metadata={"encoding": b"binary/null"})) is None
    assert value(Payload(metadata={"encoding": b"binary/plain"}, data=b"x")) == b"x"
    assert (
        value(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"xyz"))
        == "<binary/encrypted, 3 bytes>"
    )
    assert (
        value(Payload(metadata={"encoding": b"json/plain"}, data=b"{"))
        == "<json/plain that is no JSON, 1 bytes>"
    )


def test_failures_in_one_line_with_their_causes() -> None:
    inner = Failure(message="refused", application_failure_info=ApplicationFailureInfo(type="OSError"))
    assert (
        failure_text(Failure(message="activity failed", cause=inner)) == "activity failed ← OSError: refused"
    )
    assert failure_text(None) == ""


def test_statuses_as_people_write_them() -> None:
    assert [status_name(number) for number in (1, 6, 7)] == ["Running", "ContinuedAsNew", "TimedOut"]
