"""Durations, payloads and failures in words."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import ActivityFailureInfo, Failure, TimeoutFailureInfo
from view_runs import application, payload, payloads, timeout

from perdure.view.words import (
    DAY,
    HOUR,
    MILLISECOND,
    MINUTE,
    SECOND,
    clean,
    count,
    duration,
    fault,
    instant,
    payload_text,
    payloads_text,
    rough,
    shorten,
    shorten_middle,
)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (0, "0 ms"),
        (300, "<1 ms"),
        (340 * MILLISECOND, "340 ms"),
        (999 * MILLISECOND, "999 ms"),
        (SECOND - 1, "1 s"),
        (1_240 * MILLISECOND, "1.24 s"),
        (9_999 * MILLISECOND, "10 s"),
        (12_300 * MILLISECOND, "12.3 s"),
        (59_990 * MILLISECOND, "1 min"),
        (200 * SECOND, "3 min 20 s"),
        (HOUR, "1 h"),
        (2 * HOUR + 5 * MINUTE, "2 h 5 min"),
        (30 * DAY + 4 * HOUR, "30 d 4 h"),
        (-5 * SECOND, "−5 s"),
    ],
)
def test_durations_read_as_people_say_them(span: int, said: str):
    assert duration(span) == said


def test_rough_durations_have_one_unit():
    assert [
        rough(span)
        for span in (59 * MINUTE + 57 * SECOND, 30 * DAY, 12_900 * MILLISECOND, 1_500 * MILLISECOND)
    ] == [
        "59 min",
        "30 d",
        "12 s",
        "1.5 s",
    ]


def test_counts_have_plurals():
    assert [count(1, "attempt"), count(1204, "activity"), count(0, "byte")] == [
        "1 attempt",
        "1,204 activities",
        "0 bytes",
    ]


def test_an_instant_is_utc():
    assert instant(1_787_321_000 * SECOND) == "2026-08-21 14:03:20 UTC"


def test_cleaning_takes_out_what_xml_forbids_and_what_turns_text_around():
    assert clean("a\x00b\u202ec\ud800d\ufffee\n f\tg") == "a�b�c�d�e f g"


def test_cuts_say_so():
    assert shorten("attempt", 5) == "atte…"
    assert shorten_middle("load_month_2013_12", 12) == "load_mo…3_12"
    assert shorten("short", 5) == "short"


def test_payloads_are_shown_by_what_they_are():
    assert payload_text(payload({"id": 7})) == '{"id": 7}'
    assert payload_text(payload("שלום")) == '"שלום"'
    assert payload_text(Payload(metadata={"encoding": b"binary/null"})) == "null"
    assert payload_text(Payload(metadata={"encoding": b"binary/plain"}, data=b"12345")) == "5 bytes"
    assert payload_text(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"x")) == "encrypted"
    proto = Payload(metadata={"encoding": b"json/protobuf", "messageType": b"a.B"}, data=b"{}")
    assert payload_text(proto) == "a.B, 2 bytes"
    assert payload_text(Payload(metadata={"encoding": b"json/plain"}, data=b"\\u no json")) == "\\u no json"
    assert payloads_text(payloads(1, "a")) == '1, "a"'
    assert len(payload_text(payload("x" * 10_000))) == 120


def test_wrappers_are_looked_through():
    inner = application("HttpError", "HTTP 503")
    outer = Failure(message="Activity task failed", cause=inner, activity_failure_info=ActivityFailureInfo())
    assert str(fault(outer)) == "HttpError: HTTP 503"


def test_a_timeout_names_its_limit_and_the_failure_before_it():
    assert str(fault(timeout(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE))) == "start-to-close timeout"
    info = TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
    late = Failure(
        message="activity timeout", cause=application("OSError", "busy"), timeout_failure_info=info
    )
    assert str(fault(late)) == "schedule-to-close timeout: OSError: busy"


def test_an_encrypted_failure_says_that_it_is():
    sealed = Failure(message="Encoded failure", encoded_attributes=payload("x"))
    assert str(fault(sealed)) == "encrypted failure"
