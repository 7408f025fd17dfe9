"""Rows: the columns that are drawn from a record's protobuf message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import EventAppended, Output
from perdure.store.rows import event_columns, event_row, failure_text, output_row, payloads_at


@pytest.mark.parametrize("event_type", [number for number in EventType.values() if number])
def test_every_event_type_of_the_api_has_its_attributes(event_type: EventType.ValueType) -> None:
    columns = event_columns(event_type)
    attributes = getattr(HistoryEvent(), columns.attributes)
    for read in (columns.name, columns.subject_id, columns.cause_event_id, columns.failure, columns.payloads):
        assert read is None or read(attributes) is not None
    assert columns.event_type.isalnum()


def test_an_event_type_of_a_newer_api_is_kept_under_its_number() -> None:
    row = event_row(1, EventAppended("r1", HistoryEvent(event_id=4, event_type=9_999)))  # type: ignore[arg-type]
    assert row[4] == "9999"


def test_the_columns_of_an_activity_are_its_name_id_and_cause() -> None:
    event = HistoryEvent(event_id=5, event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    event.event_time.FromNanoseconds(1_720_000_000_123_456_789)
    event.activity_task_scheduled_event_attributes.activity_id = "a5"
    event.activity_task_scheduled_event_attributes.activity_type.name = "charge"
    row = event_row(9, EventAppended("r1", event, 3))
    assert row[:8] == (9, "r1", 5, 1_720_000_000_123_456_789, "ActivityTaskScheduled", "charge", "a5", None)
    assert row[-2:] == (3, event.SerializeToString())


@given(
    st.lists(st.tuples(st.sampled_from([b"json/plain", b"binary/plain"]), st.binary(max_size=9)), max_size=6)
)
def test_payloads_are_found_where_their_data_lies(given_payloads: list[tuple[bytes, bytes]]) -> None:
    payloads = Payloads(payloads=[Payload(metadata={"encoding": e}, data=data) for e, data in given_payloads])
    body = payloads.SerializeToString()
    places = payloads_at(body, payloads.payloads)
    for (encoding, data), offset, length in zip(given_payloads, places[::2], places[1::2], strict=True):
        assert length == len(data)
        assert (offset >= 0) == (encoding == b"json/plain")
        assert offset < 0 or body[offset : offset + length] == data


def test_a_failure_is_told_by_what_caused_it() -> None:
    cause = Failure(message="declined", application_failure_info={"type": "CardError"})  # type: ignore[arg-type]
    wrapper = Failure(message="Activity task failed", activity_failure_info={}, cause=cause)  # type: ignore[arg-type]
    assert failure_text(wrapper) == "CardError: declined"
    late = Failure(message="activity timed out", timeout_failure_info={"timeout_type": 1})  # type: ignore[arg-type]
    assert failure_text(late) == "activity timed out (start-to-close timeout)"
    assert failure_text(Failure(message="plain")) == "plain"


def test_text_that_is_no_unicode_is_kept_as_far_as_it_goes() -> None:
    assert output_row(1, Output("r1", 5, 1, 0, "stdout", "é\udcff"))[-1] == "é?"
