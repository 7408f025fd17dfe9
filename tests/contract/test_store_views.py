"""The views that people query: plain names, readable values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from store_records import (
    SECOND,
    START,
    activity_with_a_retry,
    attributes,
    event,
    failure,
    one_of_each,
    payload,
    scheduled,
    started,
)
from temporalio.api.common.v1 import Payloads
from temporalio.api.workflow.v1 import PendingActivityInfo

from perdure.engine.records import (
    ActivityChanged,
    AttemptEnded,
    AttemptStarted,
    EventAppended,
    ExecutionClosed,
    Output,
)
from perdure.store import Store, from_parquet


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "history.duckdb")
    yield opened
    opened.close()


def rows(store: Store, query: str, *records: Any) -> list[dict[str, Any]]:
    """The rows of a query, after a commit of the records and everything before them."""
    import asyncio

    asyncio.run(store.durable(store.append(records)))
    found = store.sql(query).astype(object)
    return found.where(found.notna(), None).to_dict("records")


def test_an_activity_is_one_row_with_its_input_and_result(store: Store) -> None:
    (row,) = rows(store, "FROM activities", *activity_with_a_retry())
    assert (row["activity_id"], row["activity_type"], row["status"]) == ("a5", "charge", "Completed")
    assert (row["attempts"], row["duration_seconds"]) == (2, 6.0)
    assert json.loads(row["input"]) == [{"id": 7, "amount": 120}, "EUR"]
    assert json.loads(row["result"]) == "charge-1"
    assert row["last_failure"] == "CardError: card declined"
    assert row["identity"] == "perdure-2-bb@host"
    assert row["scheduled_time"] == pd.Timestamp("2024-07-03 09:46:40.123456")


def test_attempts_have_times_back_off_and_failure(store: Store) -> None:
    first, second = rows(store, "FROM attempts ORDER BY attempt", *activity_with_a_retry())
    assert (first["activity_type"], first["outcome"], first["failure"]) == (
        "charge",
        "failed",
        "CardError: card declined",
    )
    assert (first["wait_seconds"], first["duration_seconds"], first["retry_seconds"]) == (1.0, 2.0, 1.0)
    assert (second["outcome"], second["retry_seconds"], second["process"]) == ("completed", None, None)


def test_an_activity_shows_where_it_stands(store: Store) -> None:
    store.append([started(), EventAppended("r1", scheduled(5)), EventAppended("r1", scheduled(6))])
    query = "SELECT status FROM activities ORDER BY scheduled_event_id"
    found = rows(store, query, AttemptStarted("r1", 5, 1, START, START, "me", ""))
    assert [row["status"] for row in found] == ["Started", "Scheduled"]
    found = rows(store, query, ExecutionClosed("r1", 5, START, 9, 900))
    assert [row["status"] for row in found] == ["Abandoned", "Abandoned"]


def test_an_execution_is_one_row_with_its_newest_values(store: Store) -> None:
    (row,) = rows(store, "FROM executions", *one_of_each())
    assert (row["status"], row["version"], row["duration_seconds"]) == ("Completed", "v2", 8.0)
    assert json.loads(row["memo"]) == {"note": "second"}
    assert json.loads(row["search_attributes"]) == {"Colour": "red", "Amount": 120}
    assert (row["history_length"], row["parent_workflow_id"], row["new_run_id"]) == (11, "parent", "r2")


def test_an_open_execution_has_no_end(store: Store) -> None:
    (row,) = rows(store, "FROM executions", started())
    assert row["status"] == "Running"
    ends = ("close_time", "duration_seconds", "history_length", "parent_workflow_id", "version", "memo")
    assert [row[name] for name in ends] == [None] * 6


def test_timers_have_a_due_time_and_a_status(store: Store) -> None:
    records: list[Any] = [started()]
    for event_id in (3, 4, 5):
        timer = event(event_id, "TIMER_STARTED", timer_id=str(event_id))
        timer.timer_started_event_attributes.start_to_fire_timeout.FromNanoseconds(90 * SECOND)
        records.append(EventAppended("r1", timer))
    records.append(EventAppended("r1", event(6, "TIMER_FIRED", at=90, timer_id="3", started_event_id=3)))
    records.append(EventAppended("r1", event(7, "TIMER_CANCELED", at=91, timer_id="4", started_event_id=4)))
    found = rows(store, "FROM timers ORDER BY timer_id", *records)
    assert [row["status"] for row in found] == ["Fired", "Canceled", "Started"]
    assert found[0]["delay_seconds"] == 90.0
    assert found[0]["due_time"] == found[0]["close_time"] == pd.Timestamp("2024-07-03 09:48:10.123456")


def test_signals_have_their_arguments(store: Store) -> None:
    given = Payloads(
        payloads=[payload(b"true"), payload(b"", b"binary/null"), payload(b"\0\1\2", b"binary/plain")]
    )
    signal = event(2, "WORKFLOW_EXECUTION_SIGNALED", signal_name="approve", input=given)
    (row,) = rows(store, "FROM signals", started(), EventAppended("r1", signal))
    assert (row["signal_name"], json.loads(row["input"])) == ("approve", [True, None, {"size_bytes": 3}])


def test_events_have_names_causes_and_failures(store: Store) -> None:
    failed = event(7, "ACTIVITY_TASK_FAILED", at=2, scheduled_event_id=5, failure=failure())
    query = "SELECT event_id, event_type, name, subject_id, cause_event_id, payloads, failure FROM events ORDER BY event_id"
    first, second = rows(
        store, query, started(), EventAppended("r1", scheduled(5)), EventAppended("r1", failed)
    )
    assert first == {
        "event_id": 5,
        "event_type": "ActivityTaskScheduled",
        "name": "charge",
        "subject_id": "a5",
        "cause_event_id": None,
        "payloads": "[]",
        "failure": None,
    }
    assert (second["cause_event_id"], second["failure"]) == (5, "CardError: card declined")


def test_a_payload_that_is_no_json_harms_no_query(store: Store) -> None:
    broken = Payloads(payloads=[payload(b"\xff\xfe"), payload(b"{not json")])
    signal = event(2, "WORKFLOW_EXECUTION_SIGNALED", signal_name="odd", input=broken)
    (row,) = rows(store, "FROM signals", started(), EventAppended("r1", signal))
    assert row["input"] is None


def test_definitions_and_output_are_shown(store: Store) -> None:
    records = [
        *one_of_each(),
        EventAppended("r1", scheduled(5)),
        Output("r1", 5, 1, START, "stderr", "caf\udce9\n"),
    ]
    (definition,) = rows(store, "FROM definitions", *records)
    assert (definition["kind"], definition["name"], definition["origin"]) == ("activity", "charge", "In [3]")
    out, err = rows(store, "FROM output ORDER BY stream DESC")
    assert (out["activity_type"], out["stream"], out["text"]) == ("charge", "stdout", "charging\n")
    assert err["text"] == "caf?\n"


def test_results_travel_as_parquet(store: Store) -> None:
    store.append([started(search_attributes=attributes(Colour=("Keyword", b'"red"')))])
    query = "SELECT workflow_id, start_time, search_attributes->>'Colour' AS colour FROM executions"
    assert rows(store, query)[0]["colour"] == "red"
    pd.testing.assert_frame_equal(from_parquet(store.parquet(query)), store.sql(query))


def test_a_standalone_activity_has_no_workflow_in_the_views(store: Store) -> None:
    start = started("s1", "a1", division="activity", workflow_type="charge")
    info = PendingActivityInfo(activity_id="a1", paused=True)
    taken = AttemptStarted("s1", 1, 1, START, START + SECOND, "worker", "")
    failed = AttemptEnded("s1", 1, 1, START + 2 * SECOND, "failed", failure("boom"), START + 3 * SECOND)
    records = (start, EventAppended("s1", scheduled(1)), taken, failed)
    (row,) = rows(store, "FROM activities", *records, ActivityChanged("s1", 1, START, info, "pause"))
    assert (row["workflow_id"], row["activity_id"], row["status"]) == (None, "a1", "Paused")
    (row,) = rows(store, "FROM attempts")
    assert (row["workflow_id"], row["run_id"], row["outcome"]) == (None, "s1", "failed")
    assert rows(store, "FROM executions") == []
    closed = ExecutionClosed("s1", 5, START + 9 * SECOND, 2, 100)
    (row,) = rows(store, "FROM activities", closed)
    assert (row["status"], row["close_time"] > row["scheduled_time"]) == ("Terminated", True)
