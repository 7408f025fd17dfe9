"""A `Journal` in dicts: what the store does, without a file.

Each run's records are folded into a `RunRecords` as they arrive, the way the file's reader folds rows; a
record is durable as soon as it is appended. `hold()` makes it wait, so that a test can look at the engine
between an append and its commit.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from perdure.engine.journal import Page, Scope, Summary, page_token, read_page_token
from perdure.engine.records import (
    ActivityChanged,
    AttemptEnded,
    AttemptStarted,
    Definition,
    EventAppended,
    EventBuffered,
    ExecutionChanged,
    ExecutionClosed,
    ExecutionDeleted,
    ExecutionReset,
    ExecutionStarted,
    Heartbeat,
    Kept,
    Output,
    Record,
    RunRecords,
    VersionsNoted,
)
from perdure.engine.state import RUNNING
from perdure.testing.list_filter import Filter, parse


class MemoryJournal:
    """Keeps records in memory. `observe` is called with the records of each append, before it returns."""

    def __init__(self, observe: Callable[[Sequence[Record]], None] | None = None) -> None:
        self.runs: dict[str, RunRecords] = {}
        self.outputs: list[Output] = []
        self._kept: dict[tuple[str, str, str], Kept] = {}
        self._definitions: dict[tuple[str, str, str], Definition] = {}
        self.observe = observe
        self._ticket = 0
        self._durable = 0
        self._held = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def append(self, records: Sequence[Record]) -> int:
        for record in records:
            self._fold(record)
        self._ticket += 1
        if not self._held:
            self._durable = self._ticket
        if self.observe is not None:
            self.observe(records)
        return self._ticket

    def hold(self) -> None:
        """Commits wait from here on, until `release`."""
        self._held = True

    @property
    def waits(self) -> bool:
        """Whether something was appended that is not committed."""
        return self._durable < self._ticket

    def release(self) -> None:
        """Commits everything that was held."""
        self._held = False
        self._durable = self._ticket
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def durable(self, ticket: int) -> None:
        if ticket <= self._durable:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((ticket, future))
        await future

    @property
    def committed(self) -> int:
        return self._durable

    def recover(self) -> Iterable[RunRecords]:
        return [copy.deepcopy(run) for run in self.runs.values() if run.closed is None]

    def definitions(self) -> list[Definition]:
        return list(self._definitions.values())

    def kept(self) -> list[Kept]:
        return [kept for kept in self._kept.values() if kept.body is not None]

    def workflow_ids(self) -> Iterable[tuple[str, str, str]]:
        starts = [run.started for run in self.runs.values()]
        return {(start.namespace, start.division, start.workflow_id) for start in starts}

    async def latest_run(self, namespace: str, workflow_id: str, division: str = "") -> Summary | None:
        wanted = (namespace, workflow_id, division)
        found = [
            run
            for run in self.runs.values()
            if (run.started.namespace, run.started.workflow_id, run.started.division) == wanted
        ]
        return _summary(found[-1]) if found else None

    async def read_run(self, run_id: str) -> RunRecords | None:
        return self.read_run_now(run_id)

    async def read_runs(self, run_ids: Sequence[str]) -> dict[str, RunRecords]:
        return {run_id: copy.deepcopy(self.runs[run_id]) for run_id in run_ids if run_id in self.runs}

    def read_run_now(self, run_id: str) -> RunRecords | None:
        run = self.runs.get(run_id)
        return copy.deepcopy(run) if run is not None else None

    async def list_executions(self, scope: Scope, query: str, limit: int, after: bytes = b"") -> Page:
        place = read_page_token(scope, query, after)
        found = parse(query, scope)
        rows = sorted(self._matching(scope, found), key=found.key)
        if place is not None:
            rows = [row for row in rows if found.key(row) > found.key_of(place)]
        more = len(rows) >= limit and limit > 0
        return Page(rows[:limit], page_token(scope, query, found.place(rows[limit - 1])) if more else b"")

    async def count_executions(self, scope: Scope, query: str) -> list[tuple[tuple[str, ...], int]]:
        found = parse(query, scope, counting=True)
        rows = self._matching(scope, found)
        if found.group is None:
            return [((), len(rows))]
        return [((name,), count) for name, count in sorted(Counter(found.group(row) for row in rows).items())]

    def _matching(self, scope: Scope, found: Filter) -> list[Summary]:
        rows = [_summary(run) for run in self.runs.values() if run.started.namespace == scope.namespace]
        return [row for row in rows if found.accepts(row)]

    def _fold(self, record: Record) -> None:
        match record:
            case ExecutionStarted():
                self.runs[record.run_id] = RunRecords(record)
            case Definition():
                key = (record.kind, record.name, record.version)
                self._definitions.pop(key, None)  # kept again: it is the newest now
                self._definitions[key] = record
            case Kept():
                key = (record.kind, record.namespace, record.id)
                self._kept.pop(key, None)
                self._kept[key] = record
            case ExecutionDeleted():
                self.runs.pop(record.run_id, None)
            case Output():
                self.outputs.append(record)
            case _:
                fold(self.runs[record.run_id], record)


def fold(run: RunRecords, record: Record) -> None:
    """Adds one record to a run's records."""
    match record:
        case EventAppended(event=event, buffer_seq=buffer_seq):
            run.events.append(event)
            run.buffered = [waiting for waiting in run.buffered if waiting.buffer_seq != buffer_seq]
        case EventBuffered():
            run.buffered.append(record)
        case AttemptStarted():
            run.attempt_starts.append(record)
            run.activity_steps.append(record)
        case AttemptEnded():
            run.attempt_ends.append(record)
            run.activity_steps.append(record)
        case Heartbeat(scheduled_event_id=activity):
            run.heartbeats = [beat for beat in run.heartbeats if beat.scheduled_event_id != activity] + [
                record
            ]
            run.activity_steps = [
                step
                for step in run.activity_steps
                if not (isinstance(step, Heartbeat) and step.scheduled_event_id == activity)
            ] + [record]
        case ExecutionChanged():
            run.changed = record
        case ExecutionClosed():
            run.closed = record
        case ExecutionReset():
            run.reset = record
        case VersionsNoted():
            run.versions = record
        case ActivityChanged():
            run.activity_changes.append(record)
            run.activity_steps.append(record)
        case ExecutionStarted() | ExecutionDeleted() | Kept() | Definition() | Output():
            raise ValueError(f"{type(record).__name__} is not one of a run's later records.")


def _summary(run: RunRecords) -> Summary:
    started, changed, closed = run.started, run.changed, run.closed
    size = closed.history_size_bytes if closed else sum(event.ByteSize() for event in run.events)
    return Summary(
        namespace=started.namespace,
        workflow_id=started.workflow_id,
        run_id=started.run_id,
        first_run_id=started.first_run_id,
        workflow_type=started.workflow_type,
        task_queue=started.task_queue,
        status=closed.status if closed else changed.status if changed else RUNNING,
        start_time=started.start_time,
        execution_time=started.execution_time,
        close_time=closed.close_time if closed else None,
        history_length=closed.history_length if closed else len(run.events),
        history_size_bytes=size,
        version=changed.version if changed else started.version,
        parent_workflow_id=started.parent_workflow_id,
        parent_run_id=started.parent_run_id,
        memo=changed.memo if changed else started.memo,
        search_attributes=changed.search_attributes if changed else started.search_attributes,
        root_workflow_id=started.root_workflow_id,
        root_run_id=started.root_run_id,
        division=started.division,
        state_transitions=closed.state_transitions if closed else 0,
    )
