"""SQL of users: what reads the history runs, everything else is refused with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import duckdb
import pytest
from store_records import activity_with_a_retry

from perdure.errors import QueryError
from perdure.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store.open(tmp_path_factory.mktemp("sql") / "history.duckdb")
    asyncio.run(opened.durable(opened.append(activity_with_a_retry())))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT * FROM events", 3),
        ("from events -- all of them", 3),
        ("SELECT 1;", 1),
        ("WITH a AS (SELECT activity_id FROM activities) SELECT * FROM a, range(3)", 3),
        ("SELECT * FROM activities a JOIN attempts t USING (run_id, scheduled_event_id)", 2),
        ("SHOW TABLES", 8),
        ("DESCRIBE executions", 19),
        ("SELECT unnest(input->'$[*]') FROM activities", 2),
        ("SELECT * FROM json_each('[1, 2]')", 2),
        ('SELECT now() AS "now""", current_timestamp', 1),
        ("SELECT 1 LIMIT 0", 0),
    ],
)
def test_what_reads_is_run(store: Store, query: str, rows: int) -> None:
    assert len(store.sql(query)) == rows


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (
            "INSERT INTO journal.events SELECT * FROM journal.events",
            "only SELECT can be run on the history, not INSERT",
        ),
        ("DELETE FROM journal.events", "not DELETE"),
        ("DROP VIEW events", "not DROP"),
        ("CREATE TABLE mine AS SELECT 1", "not CREATE"),
        ("ATTACH 'other.duckdb'", "not ATTACH"),
        ("COPY events TO 'events.csv'", "not COPY"),
        ("PRAGMA threads = 4", "not "),
        ("SET threads = 4", "not "),
        ("CHECKPOINT", "not "),
        ("INSTALL httpfs", "not LOAD"),
        ("BEGIN", "not TRANSACTION"),
        ("EXPLAIN ANALYZE SELECT 1", "not EXPLAIN"),
        ("SELECT 1; SELECT 2", "one statement; this text has 2"),
        ("", "one statement; this text has 0"),
        ("SELECT * FROM read_csv('/etc/passwd')", "function read_csv is not allowed"),
        ("SELECT * FROM main.read_text('/etc/passwd')", "function read_text is not allowed"),
        ("SELECT * FROM events WHERE name IN (SELECT file FROM glob('/*'))", "function glob is not allowed"),
        (
            "WITH f AS (FROM read_parquet('https://example.com/a.parquet')) FROM f",
            "read_parquet is not allowed",
        ),
        ("SELECT * FROM query('SELECT 1')", "function query is not allowed"),
        (
            "SELECT * FROM range(1) r, LATERAL (SELECT * FROM read_blob('/etc/passwd'))",
            "read_blob is not allowed",
        ),
        ("SELECT * FROM force_checkpoint()", "force_checkpoint is not allowed"),
        ("SELECT write_log('x')", "function write_log is not allowed"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM history", "does not exist"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1 / 'a'", "Could not convert"),
    ],
)
def test_what_does_not_only_read_is_refused(store: Store, query: str, reason: str) -> None:
    with pytest.raises(QueryError) as refusal:
        store.sql(query)
    assert reason in refusal.value.message
    assert refusal.value.remedy
    with pytest.raises(QueryError):
        store.parquet(query)


def test_python_variables_are_no_tables(store: Store) -> None:
    events_frame = store.sql("FROM events")
    assert len(events_frame) == 3
    with pytest.raises(QueryError, match="events_frame does not exist"):
        store.sql("FROM events_frame")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "ATTACH '/tmp/other.duckdb'",
        "COPY (SELECT 1) TO '/tmp/perdure-should-not-be.csv'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "INSTALL httpfs",
    ],
)
def test_the_engine_itself_refuses_what_the_check_would_miss(store: Store, statement: str) -> None:
    with store._cursor() as cursor, pytest.raises(duckdb.Error):
        cursor.execute(statement)


def test_times_with_a_zone_arrive_as_utc(store: Store) -> None:
    found = store.sql("SELECT '2024-05-01 12:00:00+02:00'::TIMESTAMPTZ AS noon, 1 AS one")
    assert found["noon"].dt.tz is None
    assert str(found["noon"][0]) == "2024-05-01 10:00:00"
    assert found.columns.tolist() == ["noon", "one"]
