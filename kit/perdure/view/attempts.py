"""Attempts and the processes that made them: what Temporal keeps only while an activity is open, and perdure keeps for good.

`fill_attempts` puts the attempt records into the rows of their activities; a row whose history was written elsewhere keeps the one
attempt that the history names. `assign_workers` numbers the processes in the order in which they first worked for the run.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable

from perdure.engine.records import AttemptStarted, RunRecords
from perdure.view.parts import Attempt, Kind, Row, State, Timeline, Worker
from perdure.view.words import Fault, clean, fault

_OUTCOMES = {
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "timed_out": State.TIMED_OUT,
    "canceled": State.CANCELED,
    "lost": State.LOST,
}
_PROCESS = re.compile(r"perdure-(\d+)-[0-9a-f]+@(.+)")


def fill_attempts(records: RunRecords, by_event: dict[int, Row], line: Timeline) -> None:
    """Gives every activity's row its attempts, and an open row the state that its last attempt says."""
    recorded: set[int] = set()
    waiting: defaultdict[tuple[int, int], deque[Attempt]] = defaultdict(
        deque
    )  # numbers can come again after a reset
    for start in records.attempt_starts:
        row = by_event.get(start.scheduled_event_id)
        if row is None or row.kind is not Kind.ACTIVITY:
            continue
        if start.scheduled_event_id not in recorded:
            recorded.add(start.scheduled_event_id)
            row.attempts, row.earlier = [], 0
        attempt = _attempt(start)
        row.attempts.append(attempt)
        waiting[start.scheduled_event_id, start.attempt].append(attempt)
    for end in records.attempt_ends:
        row = by_event.get(end.scheduled_event_id)
        if row is None or row.kind is not Kind.ACTIVITY:
            continue
        queue = waiting[end.scheduled_event_id, end.attempt]
        if queue:
            attempt = queue.popleft()
        elif (
            end.scheduled_event_id in recorded or end.outcome != "completed"
        ):  # ended before any worker took it
            if end.scheduled_event_id not in recorded:
                recorded.add(end.scheduled_event_id)
                row.attempts, row.earlier = [], 0
            attempt = Attempt(end.attempt, State.WAITING, row.start, None)
            row.attempts.append(attempt)
        else:
            continue
        attempt.ended, attempt.next_due = end.ended_time, end.next_attempt_time
        attempt.state = _OUTCOMES.get(end.outcome, State.FAILED)
        if attempt.state is State.LOST:
            attempt.fault = Fault(
                "", "its process died"
            )  # the engine says so in a timeout failure, which it was not
        else:
            attempt.fault = fault(end.failure) if end.failure is not None else None
    for event_id in recorded:
        _settle(by_event[event_id])
    for row in line.activities:
        _close_attempts(row, line)


def _attempt(start: AttemptStarted) -> Attempt:
    identity = start.process or start.identity
    return Attempt(start.attempt, State.RUNNING, start.scheduled_time, start.started_time, identity=identity)


def _settle(row: Row) -> None:
    """The row of an activity that has attempt records: its state while open, its failure, how often it completed."""
    last = row.attempts[-1]
    row.completions = max(row.completions, sum(attempt.state is State.COMPLETED for attempt in row.attempts))
    row.fault = row.fault or next((a.fault for a in reversed(row.attempts) if a.fault is not None), None)
    if row.end is not None:
        return
    if last.ended is None:
        row.state = State.RUNNING
    elif last.next_due is not None:
        row.state, row.due = State.RETRYING, last.next_due
    else:  # decided, but the event that says so still waits for the end of a workflow task
        row.state, row.end = last.state, last.ended


def _close_attempts(row: Row, line: Timeline) -> None:
    """An attempt cannot outlast its activity, nor an activity its workflow."""
    end = line.end if row.end is None else row.end
    for attempt in row.attempts:
        if attempt.ended is None and end is not None:
            attempt.ended = max(end, attempt.started or end)
            attempt.state = State.ABANDONED if row.end is None else row.state
            if attempt.state is State.COMPLETED and attempt is not row.attempts[-1]:
                attempt.state = State.LOST
    last = row.attempts[-1] if row.attempts else None
    if last is not None and last.fault is None and last.state.failed and row.state.failed:
        last.fault = row.fault
    if last is not None and last.state is State.COMPLETED and row.earlier:
        last.fault = None  # the failure that the history tells is that of the attempt before


def assign_workers(records: RunRecords, line: Timeline, task_identities: Iterable[str]) -> None:
    """Numbers the processes that worked for the run, and marks where one takes over from those before it."""
    seen: list[tuple[int, int, str]] = []  # (from, to, identity) of every piece of work
    lost: dict[str, int] = {}
    owners: list[tuple[str, Attempt]] = []
    for row in line.activities:
        for attempt in row.attempts:
            if attempt.started is None or not attempt.identity:
                continue
            owners.append((attempt.identity, attempt))
            seen.append(
                (attempt.started, line.finish if attempt.ended is None else attempt.ended, attempt.identity)
            )
            if attempt.state is State.LOST and attempt.ended is not None:
                lost[_process(attempt.identity)] = attempt.ended
    for task, identity in zip(line.tasks, task_identities, strict=True):
        if identity:
            seen.append((task.start, line.finish if task.end is None else task.end, identity))
    workers: dict[str, Worker] = {}
    for start, end, identity in sorted(seen):
        process = _process(identity)
        worker = workers.get(process)
        if worker is None:
            takes_over = bool(workers) and all(
                w.last <= start or w.lost is not None for w in workers.values()
            )
            label = f"{'kernel' if _PROCESS.fullmatch(identity) else 'worker'} {len(workers) + 1}"
            worker = Worker(len(workers), label, clean(identity), start, end, lost.get(process), takes_over)
            workers[process] = worker
        worker.last = max(worker.last, end)
    for identity, attempt in owners:
        attempt.worker = workers[_process(identity)].index
    for task, identity in zip(line.tasks, task_identities, strict=True):
        task.worker = workers[_process(identity)].index if identity else None
    line.workers = list(workers.values())


def _process(identity: str) -> str:
    """One name for a process: its worker takes a new lease, with a new identity, whenever a cell is run again."""
    match = _PROCESS.fullmatch(identity)
    return f"{match.group(1)}@{match.group(2)}" if match else identity
