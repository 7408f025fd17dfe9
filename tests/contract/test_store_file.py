"""The store's own promises: recovery, group commit, waking, letting go of the file."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_records import START, activity_with_a_retry, event, one_of_each, started

from perdure.engine.records import EventAppended, EventBuffered, ExecutionClosed, Heartbeat, Kept
from perdure.errors import StoreError
from perdure.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".perdure" / "history.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


def test_open_runs_are_recovered_whole_and_in_order(path: Path) -> None:
    store = Store.open(path)
    store.append(activity_with_a_retry())
    store.append([started("done"), ExecutionClosed("done", 2, START, 3, 100)])
    store.append([started("r2"), Heartbeat("r2", 5, 1, 1, None), Heartbeat("r2", 5, 2, 2, None)])
    store.append([EventBuffered("r2", 1, event(0, "WORKFLOW_EXECUTION_SIGNALED"))])
    store.append([EventAppended("r1", event(8, "TIMER_STARTED", timer_id="1"))])
    store.close()

    again = Store.open(path)
    first, second = again.recover()
    again.close()
    assert first.started == activity_with_a_retry()[0]
    assert [found.event_id for found in first.events] == [5, 6, 7, 8]
    assert [(end.attempt, end.outcome) for end in first.attempt_ends] == [(1, "failed"), (2, "completed")]
    assert [beat.attempt for beat in second.heartbeats] == [2]
    assert [waiting.buffer_seq for waiting in second.buffered] == [1]


def test_records_count_on_after_reopening(path: Path) -> None:
    for event_id in (1, 2, 3):
        store = Store.open(path)
        store.append(
            [*([started()] if event_id == 1 else []), EventAppended("r1", event(event_id, "TIMER_FIRED"))]
        )
        store.close()
    store = Store.open(path)
    seqs = store.sql("SELECT seq FROM journal.events ORDER BY event_id")["seq"].tolist()
    assert seqs == [2, 3, 4]
    assert [found.event_id for found in next(iter(store.recover())).events] == [1, 2, 3]
    store.close()


def test_documents_that_have_a_newer_version_do_not_fill_the_file(path: Path) -> None:
    store = Store.open(path)
    for number in range(1500):
        store.append([Kept("schedule", "default", "a", number, str(number).encode())])
    store.append([Kept("schedule", "default", "b", 1, b"b")])
    store.close()
    store = Store.open(path)
    assert [(kept.id, kept.body) for kept in store.kept()] == [("a", b"1499"), ("b", b"b")]
    assert store.sql("SELECT count(*) AS n FROM journal.kept")["n"].tolist() == [2]
    store.close()


def test_tickets_grow_and_all_waiters_wake(store: Store) -> None:
    async def many() -> None:
        store.append([started()])
        waiters = [
            asyncio.create_task(store.durable(store.append([EventAppended("r1", event(n, "TIMER_FIRED"))])))
            for n in range(1, 2_001)
        ]
        waiters[7].cancel()
        results = await asyncio.gather(*waiters, return_exceptions=True)
        assert sum(result is None for result in results) == 1_999
        assert store.append([]) == 2_001
        await store.durable(2_001)

    asyncio.run(many())
    assert store.sql("SELECT count(*) AS n FROM events")["n"].tolist() == [2_000]


def test_a_wait_works_from_another_loop(store: Store) -> None:
    ticket = store.append([started()])
    other = threading.Thread(target=lambda: asyncio.run(store.durable(ticket)))
    other.start()
    asyncio.run(store.durable(ticket))
    other.join(timeout=10)
    assert not other.is_alive()


def test_a_ticket_that_was_never_given_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="ticket 9 was never given"):
        asyncio.run(store.durable(9))


def test_a_closed_store_says_so(store: Store) -> None:
    ticket = store.append([started()])
    store.close()
    asyncio.run(store.durable(ticket))
    with pytest.raises(StoreError, match="is closed"):
        store.append([started("r2")])
    with pytest.raises(StoreError, match="is closed"):
        asyncio.run(store.read_run("r1"))


def test_closing_leaves_one_file_that_another_process_can_open(store: Store, path: Path) -> None:
    asyncio.run(store.durable(store.append(one_of_each())))
    store.parquet("FROM events")
    store.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["history.duckdb"]
    code = "import sys, perdure.store as s; o = s.Store.open(sys.argv[1]); print(len(o.sql('FROM events'))); o.close()"
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "1\n"


def test_what_a_kill_left_of_an_unfinished_file_is_removed(path: Path) -> None:
    path.parent.mkdir()
    old, fresh = (path.with_name(f"{path.name}.{name}.new") for name in ("aa", "bb"))
    old.touch()
    os.utime(old, (0, 0))
    fresh.touch()
    Store.open(path).close()
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, fresh.name}


ENDS_WITHOUT_CLOSING = """
import sys
from perdure.store import Store
from store_records import *
store = Store.open(sys.argv[1])
for number in range(300):
    store.append([started(f"r{number}"), EventAppended(f"r{number}", scheduled())])
"""


def test_a_process_that_ends_without_closing_loses_nothing(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", ENDS_WITHOUT_CLOSING, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    store = Store.open(path)
    assert len(list(store.recover())) == 300
    store.close()


def test_a_plain_duckdb_reads_the_views(store: Store, path: Path) -> None:
    store.append(activity_with_a_retry())
    store.close()
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True);"
        "print(c.execute('SELECT activity_type, attempts, result FROM activities').fetchall())"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "[('charge', 2, '\"charge-1\"')]\n"
