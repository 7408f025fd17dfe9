"""What every journal promises the engine: the DuckDB file and the journal in memory give the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_records import SECOND, START, attributes, event, one_of_each, started
from temporalio.api.workflow.v1 import PendingActivityInfo

from perdure.engine.journal import InvalidQueryError, Journal, Scope
from perdure.engine.records import (
    ActivityChanged,
    Definition,
    EventAppended,
    EventBuffered,
    ExecutionChanged,
    ExecutionClosed,
    ExecutionDeleted,
    ExecutionReset,
    Kept,
    Record,
    RunRecords,
    VersionsNoted,
)
from perdure.store import Store
from perdure.testing.journal import MemoryJournal


def opened(kind: str, folder: Path) -> Iterator[Journal]:
    if kind == "memory":
        yield MemoryJournal()
        return
    store = Store.open(folder / "history.duckdb")
    yield store
    store.close()


@pytest.fixture(params=["file", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    yield from opened(request.param, tmp_path)


SCOPE = Scope("default", {"Colour": "Keyword", "Amount": "Int"})


def keep(journal: Journal, *records: Record) -> None:
    asyncio.run(journal.durable(journal.append(records)))


def run_of(journal: Journal, run_id: str) -> RunRecords:
    found = asyncio.run(journal.read_run(run_id))
    assert found is not None
    return found


def test_every_field_of_every_record_is_read_back(journal: Journal) -> None:
    records = one_of_each()
    keep(journal, *records)
    run = run_of(journal, "r1")
    start, changed, first, _, waiting, attempt, end, _, beat, definition, _, closed = records
    assert isinstance(first, EventAppended)
    assert run.started == start
    assert run.changed == changed
    assert run.events == [first.event]
    assert run.buffered == [waiting] or run.buffered == [records[3], waiting]
    assert run.attempt_starts == [attempt]
    assert run.attempt_ends == [end]
    assert run.heartbeats == [beat]
    assert run.closed == closed
    assert list(journal.definitions()) == [definition]
    assert list(journal.workflow_ids()) == [("default", "", "payment-7")]


def test_a_run_that_is_not_there_is_none(journal: Journal) -> None:
    assert asyncio.run(journal.read_run("nowhere")) is None
    assert asyncio.run(journal.latest_run("default", "nothing")) is None


def test_a_buffered_event_is_left_out_once_it_is_written(journal: Journal) -> None:
    signal = event(0, "WORKFLOW_EXECUTION_SIGNALED", signal_name="stop")
    keep(journal, started(), EventBuffered("r1", 1, signal), EventBuffered("r1", 2, signal))
    keep(journal, started("r2"), EventBuffered("r2", 1, signal))
    keep(journal, EventAppended("r1", event(4, "WORKFLOW_EXECUTION_SIGNALED"), buffer_seq=1))
    assert [waiting.buffer_seq for waiting in run_of(journal, "r1").buffered] == [2]
    assert [waiting.buffer_seq for waiting in run_of(journal, "r2").buffered] == [1]


def test_a_buffer_seq_that_is_used_again_is_another_event(journal: Journal) -> None:
    """A restarted engine counts anew: what it buffers must not be taken for what was written before."""
    signaled = event(3, "WORKFLOW_EXECUTION_SIGNALED")
    keep(
        journal, started("r1"), EventBuffered("r1", 1, signaled), EventAppended("r1", signaled, buffer_seq=1)
    )
    keep(journal, EventBuffered("r1", 1, signaled))
    assert [waiting.buffer_seq for waiting in run_of(journal, "r1").buffered] == [1]


def test_the_newest_run_of_an_id_is_found(journal: Journal) -> None:
    keep(journal, started("r1"), ExecutionClosed("r1", 6, START, 3, 100, "r2"), started("r2"))
    found = asyncio.run(journal.latest_run("default", "payment-7"))
    assert found is not None
    assert (found.run_id, found.status) == ("r2", 1)
    assert asyncio.run(journal.latest_run("other", "payment-7")) is None


def test_a_summary_has_the_newest_values(journal: Journal) -> None:
    colours = attributes(Colour=("Keyword", b'"blue"'))
    keep(journal, started(version="v1", search_attributes=colours))
    keep(
        journal,
        ExecutionChanged("r1", START, "v2", None, None),
        ExecutionClosed("r1", 2, START + 9, 11, 2_345),
    )
    found = asyncio.run(journal.latest_run("default", "payment-7"))
    assert found is not None
    assert (found.version, found.memo, found.search_attributes) == ("v2", None, None)
    assert (found.status, found.close_time, found.history_length, found.history_size_bytes) == (
        2,
        START + 9,
        11,
        2_345,
    )


def test_a_definition_kept_again_is_the_newest(journal: Journal) -> None:
    first = Definition("workflow", "payment", "v1", "m", "payment", "one")
    keep(journal, first, Definition("workflow", "payment", "v2", "m", "payment", "two"))
    keep(journal, Definition("workflow", "payment", "v1", "m", "payment", "again"))
    assert [(d.version, d.source) for d in journal.definitions()] == [("v2", "two"), ("v1", "again")]


def test_pages_come_newest_start_first_and_each_row_once(journal: Journal) -> None:
    keep(journal, *(started(f"r{n}", start_time=START + n // 3) for n in range(10)))

    async def pages() -> list[str]:
        page = await journal.list_executions(SCOPE, "", 4)
        found = [row.run_id for row in page.rows]
        while page.next:
            page = await journal.list_executions(SCOPE, "", 4, page.next)
            found += [row.run_id for row in page.rows]
        return found

    assert asyncio.run(pages()) == ["r9", "r6", "r7", "r8", "r3", "r4", "r5", "r0", "r1", "r2"]


def listed(journal: Journal, query: str) -> set[str]:
    return {row.run_id for row in asyncio.run(journal.list_executions(SCOPE, query, 100)).rows}


@pytest.fixture(params=["file", "memory"], scope="module")
def payments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    for journal in opened(request.param, tmp_path_factory.mktemp("payments")):
        keep_payments(journal)
        yield journal


def keep_payments(journal: Journal) -> None:
    keep(
        journal,
        started(
            "r1",
            "payment-1",
            search_attributes=attributes(Colour=("Keyword", b'"red"'), Amount=("Int", b"5")),
        ),
        started(
            "r2",
            "payment-2",
            search_attributes=attributes(Colour=("Keyword", b'"blue"'), Amount=("Int", b"50")),
        ),
        started(
            "r3",
            "refund-1",
            workflow_type="refund",
            start_time=START + SECOND,
            parent_workflow_id="payment-1",
        ),
        ExecutionClosed("r1", 2, START + 7_200 * SECOND, 11, 500),
        ExecutionClosed("r2", 6, START + 2 * SECOND, 40, 900),
        started("x1", "payment-1", namespace="other"),
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "r1 r2 r3"),
        ("WorkflowId = 'payment-1'", "r1"),
        ("WorkflowId STARTS_WITH 'pay'", "r1 r2"),
        ("WorkflowId NOT STARTS_WITH 'pay'", "r3"),
        ("ExecutionStatus = 'Running'", "r3"),
        ("ExecutionStatus != 'Running' AND WorkflowType = 'payment'", "r1 r2"),
        ("ExecutionStatus IN ('Completed', 'ContinuedAsNew')", "r1 r2"),
        ("ExecutionStatus NOT IN ('Completed', 'ContinuedAsNew')", "r3"),
        ("CloseTime IS NULL OR HistoryLength > 20", "r2 r3"),
        ("CloseTime IS NOT NULL AND NOT (HistoryLength >= 12)", "r1"),
        ("StartTime <= '2024-07-03T09:46:41Z'", "r1 r2"),
        ("StartTime BETWEEN '2024-07-03T09:46:41Z' AND '2024-07-03T10:46:42+01:00'", "r3"),
        ("ParentWorkflowId = 'payment-1'", "r3"),
        ("Colour = 'red'", "r1"),
        ("`Colour` IN ('red', \"blue\") AND Amount > 5", "r2"),
        ("Amount BETWEEN 1 AND 10", "r1"),
        ("Colour IS NULL", "r3"),
        ("WorkflowId = 'it''s; DROP TABLE journal.events'", ""),
    ],
)
def test_a_filter_lists_the_runs_that_match(payments: Journal, query: str, found: str) -> None:
    assert listed(payments, query) == set(found.split())


def test_counts_are_whole_or_by_status(payments: Journal) -> None:
    count = payments.count_executions
    assert asyncio.run(count(SCOPE, "WorkflowType = 'payment'")) == [((), 2)]
    assert sorted(asyncio.run(count(SCOPE, "GROUP BY ExecutionStatus"))) == [
        (("Completed",), 1),
        (("ContinuedAsNew",), 1),
        (("Running",), 1),
    ]
    assert asyncio.run(count(SCOPE, "WorkflowType = 'refund' GROUP BY ExecutionStatus")) == [
        (("Running",), 1)
    ]


@pytest.mark.parametrize(
    "query",
    ["WorkflowId =", "WorkflowId = 'a' LIMIT 3", "= 3", "ExecutionStatus = 'Lost'", "Flavour = 'sweet'"],
)
def test_a_filter_that_makes_no_sense_is_refused(payments: Journal, query: str) -> None:
    with pytest.raises(InvalidQueryError):
        listed(payments, query)


def test_documents_are_kept_until_they_are_gone(journal: Journal) -> None:
    keep(
        journal, Kept("schedule", "default", "daily", 1, b"old"), Kept("schedule", "default", "gone", 2, b"x")
    )
    newest = Kept("schedule", "default", "daily", 3, b"new")
    keep(journal, newest, Kept("schedule", "default", "gone", 4, None))
    assert list(journal.kept()) == [newest]


def test_what_operators_did_is_read_back(journal: Journal) -> None:
    start = started("r1", division="activity", root_workflow_id="w", root_run_id="r0")
    changed = ActivityChanged("r1", 5, 10, PendingActivityInfo(activity_id="a", paused=True))
    reset = ExecutionReset("r1", 11, "r2")
    paused = ExecutionChanged("r1", 12, "", None, None, status=8)
    noted = VersionsNoted("r1", 13, "[null, 2, null, null]")
    keep(journal, start, changed, ExecutionReset("r1", 9, "r9"), reset, paused, noted)
    run = run_of(journal, "r1")
    assert (run.started, run.activity_changes, run.reset, run.changed) == (start, [changed], reset, paused)
    assert run.versions == noted
    query = "TemporalNamespaceDivision = 'activity'"
    (summary,) = asyncio.run(journal.list_executions(SCOPE, query, 9)).rows
    assert (summary.status, summary.root_run_id, summary.division) == (8, "r0", "activity")


def test_a_deleted_run_leaves_nothing(journal: Journal) -> None:
    keep(journal, *one_of_each(), started("r2"))
    keep(journal, ExecutionDeleted("r1", 99))
    assert asyncio.run(journal.read_run("r1")) is None
    assert asyncio.run(journal.read_run("r2")) is not None
