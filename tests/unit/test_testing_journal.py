"""The journal in memory keeps the promises of `Journal`, and reads list filters."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.journal import InvalidQueryError, Scope
from perdure.engine.records import EventAppended, EventBuffered, ExecutionClosed, ExecutionStarted
from perdure.testing.journal import MemoryJournal

SCOPE = Scope("default")
RUN = ExecutionStarted("default", "payment-1", "r1", "r1", "payment", "perdure", 10, 10)


def test_a_buffered_event_leaves_the_buffer_when_it_is_written() -> None:
    journal = MemoryJournal()
    journal.append([RUN, EventBuffered("r1", 1, HistoryEvent()), EventBuffered("r1", 2, HistoryEvent())])
    journal.append([EventAppended("r1", HistoryEvent(event_id=5), buffer_seq=1)])
    run = asyncio.run(journal.read_run("r1"))
    assert run is not None
    assert [waiting.buffer_seq for waiting in run.buffered] == [2]


def test_a_held_commit_is_durable_only_after_release() -> None:
    journal = MemoryJournal()
    journal.hold()
    ticket = journal.append([RUN])

    async def waits_for_release() -> bool:
        waiter = asyncio.create_task(journal.durable(ticket))
        await asyncio.sleep(0)
        waited = not waiter.done()
        journal.release()
        await waiter
        return waited

    assert asyncio.run(waits_for_release())


def test_pages_continue_after_the_last_row() -> None:
    journal = MemoryJournal()
    journal.append([replace(RUN, run_id=f"r{n}", start_time=n // 2) for n in range(5)])

    async def pages() -> list[str]:
        page = await journal.list_executions(SCOPE, "", 2)
        found = [row.run_id for row in page.rows]
        while page.next:
            page = await journal.list_executions(SCOPE, "", 2, page.next)
            found += [row.run_id for row in page.rows]
        return found

    assert asyncio.run(pages()) == ["r4", "r2", "r3", "r0", "r1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"a", "b", "c"}),
        ("WorkflowType = 'x'", {"a", "b"}),
        ("WorkflowType = 'x' AND ExecutionStatus = 'Running'", {"a"}),
        ("ExecutionStatus IN ('Completed', 'Failed') OR WorkflowType='y'", {"b", "c"}),
        ("NOT (WorkflowType = 'x')", {"c"}),
        ("WorkflowId STARTS_WITH 'b'", {"b"}),
        ("CloseTime IS NULL", {"a", "c"}),
        ("StartTime > '1970-01-01T00:00:01Z'", {"c"}),
    ],
)
def test_list_filters(query: str, found: set[str]) -> None:
    journal = MemoryJournal()
    journal.append([replace(RUN, workflow_id="a", run_id="a", workflow_type="x", start_time=1)])
    journal.append([replace(RUN, workflow_id="b", run_id="b", workflow_type="x", start_time=2)])
    journal.append([replace(RUN, workflow_id="c", run_id="c", workflow_type="y", start_time=2_000_000_000)])
    journal.append([ExecutionClosed("b", 2, 5, 0, 0)])
    rows = asyncio.run(journal.list_executions(SCOPE, query, 10)).rows
    assert {row.workflow_id for row in rows} == found
    assert asyncio.run(journal.count_executions(SCOPE, query)) == [((), len(found))]


def test_a_filter_that_cannot_be_read_names_the_place() -> None:
    with pytest.raises(InvalidQueryError, match="'x' where =, !="):
        asyncio.run(MemoryJournal().list_executions(SCOPE, "WorkflowType x", 10))
