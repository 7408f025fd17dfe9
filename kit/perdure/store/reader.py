"""Reads records and summaries back, over one cursor. The tables keep protobuf messages, parsed here.

A run's records are read with one ordered scan of each table for all wanted runs together, so that recovery
of two thousand open runs costs nine scans, and not nine queries for each run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Memo, Payloads, SearchAttributes
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo

from perdure.engine.journal import Place, Summary
from perdure.engine.records import (
    ActivityChanged,
    ActivityStep,
    AttemptEnded,
    AttemptStarted,
    Definition,
    EventBuffered,
    ExecutionChanged,
    ExecutionClosed,
    ExecutionReset,
    ExecutionStarted,
    Heartbeat,
    Kept,
    RunRecords,
    VersionsNoted,
)
from perdure.store.condition import Condition
from perdure.store.statements import queries

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROWS_AT_ONCE = 2048


def rows(cursor: DuckDBPyConnection, name: str, parameters: object = None) -> Iterator[tuple[Any, ...]]:
    """The rows of a named query, some thousand at a time."""
    result = (
        cursor.execute(queries()[name], parameters)
        if parameters is not None
        else cursor.execute(queries()[name])
    )
    while chunk := result.fetchmany(_ROWS_AT_ONCE):
        yield from chunk


def _parsed(row: tuple[Any, ...], kinds: dict[int, type[Message]]) -> tuple[Any, ...]:
    """The row with the messages in the given places parsed; None stays None."""
    values = list(row)
    for place, kind in kinds.items():
        if values[place] is not None:
            values[place] = kind.FromString(values[place])
    return tuple(values)


def open_run_ids(cursor: DuckDBPyConnection) -> list[str]:
    """The ids of every open run, oldest first."""
    return [run_id for (run_id,) in rows(cursor, "open_run_ids")]


def runs(cursor: DuckDBPyConnection, run_ids: list[str]) -> dict[str, RunRecords]:
    """Runs with all their records, open or closed, as of one moment."""
    cursor.begin()
    try:
        return _runs(cursor, run_ids)
    finally:
        cursor.rollback()


def _runs(cursor: DuckDBPyConnection, run_ids: list[str]) -> dict[str, RunRecords]:
    wanted = {"run_ids": run_ids}
    runs: dict[str, RunRecords] = {}
    for row in rows(cursor, "starts_of", wanted):
        runs[row[2]] = RunRecords(ExecutionStarted(*_parsed(row, {-5: Memo, -4: SearchAttributes})))
    for run_id, event in rows(cursor, "events_of", wanted):
        runs[run_id].events.append(HistoryEvent.FromString(event))
    for run_id, buffer_seq, event in rows(cursor, "buffered_of", wanted):
        runs[run_id].buffered.append(EventBuffered(run_id, buffer_seq, HistoryEvent.FromString(event)))
    _activity_steps(cursor, wanted, runs)
    for row in rows(cursor, "changes_of", wanted):
        runs[row[0]].changed = ExecutionChanged(*_parsed(row, {-3: Memo, -2: SearchAttributes}))
    for row in rows(cursor, "closes_of", wanted):
        runs[row[0]].closed = ExecutionClosed(*row)
    for row in rows(cursor, "resets_of", wanted):
        runs[row[0]].reset = ExecutionReset(*row)
    for row in rows(cursor, "versions_of", wanted):
        runs[row[0]].versions = VersionsNoted(*row)
    return runs


def _activity_steps(
    cursor: DuckDBPyConnection, wanted: dict[str, list[str]], runs: dict[str, RunRecords]
) -> None:
    """What happened to the runs' activities: by kind, and all in the order in which it happened."""
    steps: list[tuple[int, ActivityStep]] = []
    for *row, seq in rows(cursor, "attempt_starts_of", wanted):
        start = AttemptStarted(*row)
        runs[start.run_id].attempt_starts.append(start)
        steps.append((seq, start))
    for *row, seq in rows(cursor, "attempt_ends_of", wanted):
        end = AttemptEnded(*_parsed(tuple(row), {5: Failure}))
        runs[end.run_id].attempt_ends.append(end)
        steps.append((seq, end))
    for *row, seq in rows(cursor, "heartbeats_of", wanted):
        beat = Heartbeat(*_parsed(tuple(row), {4: Payloads}))
        runs[beat.run_id].heartbeats.append(beat)
        steps.append((seq, beat))
    for *row, seq in rows(cursor, "activity_changes_of", wanted):
        change = ActivityChanged(*_parsed(tuple(row), {3: PendingActivityInfo}))
        runs[change.run_id].activity_changes.append(change)
        steps.append((seq, change))
    for _, step in sorted(steps, key=lambda s: s[0]):
        runs[step.run_id].activity_steps.append(step)


def definitions(cursor: DuckDBPyConnection) -> list[Definition]:
    """Every definition version; the one kept last comes last."""
    return [Definition(*row) for row in rows(cursor, "all_definitions")]


def kept(cursor: DuckDBPyConnection) -> list[Kept]:
    """The newest version of each document that is not a run."""
    return [Kept(*row) for row in rows(cursor, "all_kept")]


def workflow_ids(cursor: DuckDBPyConnection) -> Iterable[tuple[str, str, str]]:
    """Namespace, division and workflow id of every run."""
    return [(namespace, division, id_) for namespace, division, id_ in rows(cursor, "workflow_ids")]


def latest_run(
    cursor: DuckDBPyConnection, namespace: str, workflow_id: str, division: str = ""
) -> Summary | None:
    """The run of a workflow id that was started last."""
    where = "namespace = ? AND workflow_id = ? AND division = ?"
    text = f"{queries()['list_runs']} WHERE {where} ORDER BY seq DESC LIMIT 1"
    found = cursor.execute(text, [namespace, workflow_id, division]).fetchone()
    return None if found is None else _summary(found)


def list_executions(
    cursor: DuckDBPyConnection, condition: Condition, limit: int
) -> list[tuple[Summary, Place]]:
    """Runs that meet the condition, in its order, each with its place in it."""
    keys = ", ".join(f"{key.sql} AS key_{at}" for at, key in enumerate(condition.order))
    order = ", ".join(
        f"key_{at} {'DESC' if key.descending else 'ASC'} NULLS LAST" for at, key in enumerate(condition.order)
    )
    parameters = [value for key in condition.order for value in key.parameters]
    text = queries()["list_runs"].replace("SELECT", f"SELECT {keys},", 1)
    text = f"{text} WHERE {condition.sql} ORDER BY {order} LIMIT ?"
    found = cursor.execute(text, [*parameters, *condition.parameters, limit]).fetchall()
    width = len(condition.order)
    return [(_summary(row[width:]), list(row[:width])) for row in found]


def count_executions(cursor: DuckDBPyConnection, condition: Condition) -> list[tuple[tuple[str, ...], int]]:
    """How many runs meet the condition; for each group if it groups."""
    if condition.group:
        text = queries()["count_runs"].replace("SELECT", f"SELECT {condition.group},", 1)
        text = f"{text} WHERE {condition.sql} GROUP BY {condition.group} ORDER BY {condition.group}"
        return [((group,), count) for group, count in cursor.execute(text, condition.parameters).fetchall()]
    text = f"{queries()['count_runs']} WHERE {condition.sql}"
    return [((), count) for (count,) in cursor.execute(text, condition.parameters).fetchall()]


def _summary(row: tuple[Any, ...]) -> Summary:
    return Summary(*_parsed(row, {-6: Memo, -5: SearchAttributes}))
