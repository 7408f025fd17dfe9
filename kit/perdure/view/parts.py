"""The timeline of one run as values: rows, attempts, workers. What `perdure.view.model` makes and the drawings read.

Times are ns since the epoch; an `end` of None means still open, drawn up to `Timeline.now`. All text is clean
(`perdure.view.words`) but not escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from perdure.view.words import Fault


class State(StrEnum):
    """How a row, an attempt or the run stands; the value is the word that people see."""

    WAITING = "waiting"  # for a worker
    RUNNING = "running"
    RETRYING = "retrying"  # between two attempts
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    CONTINUED_AS_NEW = "continued as new"
    PAUSED = "paused"
    LOST = "lost"  # an attempt whose process died
    ABANDONED = "abandoned"  # still open when the workflow closed

    @property
    def failed(self) -> bool:
        return self in (State.FAILED, State.TIMED_OUT, State.LOST)

    @property
    def open(self) -> bool:
        return self in (State.WAITING, State.RUNNING, State.RETRYING, State.PAUSED)


class Kind(StrEnum):
    WORKFLOW = "workflow"
    ACTIVITY = "activity"
    LOCAL_ACTIVITY = "local activity"
    TIMER = "timer"
    SIGNAL = "signal"
    UPDATE = "update"
    CHILD = "child"
    SIGNAL_SENT = "signal to"
    CANCEL_SENT = "cancel of"
    NEXUS = "operation"
    NOTE = ""  # cancel requested, paused, moved to another version, patched: the name says it


@dataclass(slots=True)
class Attempt:
    """One attempt of an activity. `due`: when it could have started; `started` is None while no worker took it."""

    number: int
    state: State
    due: int | None
    started: int | None
    ended: int | None = None
    fault: Fault | None = None
    worker: int | None = None  # index into Timeline.workers
    identity: str = ""
    next_due: int | None = None


@dataclass(slots=True)
class Row:
    """A line of the picture."""

    kind: Kind
    event_id: int
    name: str
    start: int
    state: State
    end: int | None = None
    detail: str = ""  # arguments, or what the user said about it
    result: str = ""
    fault: Fault | None = None
    attempts: list[Attempt] = field(default_factory=list)
    earlier: int = 0  # attempts that were made but of which the history keeps only the number
    max_attempts: int = 0  # 0 is no limit
    final: bool = False  # failed, and no attempt was left or allowed
    due: int | None = None  # when a timer fires, or the next attempt is due
    task_queue: str = ""
    workflow_id: str = ""  # of a child or an external workflow
    completions: int = 0  # how often it completed: an activity's is 1, or something is very wrong

    @property
    def point(self) -> bool:
        return self.kind in (Kind.SIGNAL, Kind.NOTE)

    @property
    def tries(self) -> int:
        """How many attempts were started."""
        return self.earlier + sum(attempt.started is not None for attempt in self.attempts)

    @property
    def failures(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.state.failed]


@dataclass(slots=True)
class Task:
    """A workflow task: the workflow's own code ran, from `start` to `end`."""

    start: int
    end: int | None
    state: State
    fault: Fault | None = None
    worker: int | None = None


@dataclass(slots=True)
class Worker:
    """A process that worked for the run. `label` is "kernel 2" for one of perdure's, "worker 2" for another."""

    index: int
    label: str
    identity: str
    first: int
    last: int
    lost: int | None = None  # when an attempt of its was found lost: it died
    takes_over: bool = False  # all earlier ones had ended their work before its first


@dataclass(slots=True)
class Timeline:
    """A run, ready to be drawn. It draws itself in a notebook, and as text where there is none."""

    workflow_id: str
    run_id: str
    workflow_type: str
    version: str
    state: State
    start: int
    end: int | None
    now: int
    rows: list[Row]  # the workflow's own row is the first
    tasks: list[Task]
    workers: list[Worker]
    verdict: str = ""  # what happened, or what it waits for, in a sentence
    remedy: str = ""  # what to do about it; "" when there is nothing to do
    result: str = ""
    previous_run: str = ""  # continued from
    next_run: str = ""  # continued as
    parent: str = ""
    history_length: int = 0
    recorded: bool = (
        True  # attempts were recorded; a history from elsewhere tells only of the last one of each activity
    )

    @property
    def finish(self) -> int:
        """Where the picture ends."""
        return self.now if self.end is None else self.end

    @property
    def activities(self) -> list[Row]:
        return [row for row in self.rows if row.kind in (Kind.ACTIVITY, Kind.LOCAL_ACTIVITY)]

    def edges(self) -> Iterator[int]:
        """Every instant at which something begins or ends."""
        yield self.start
        yield self.finish
        for row in self.rows:
            yield row.start
            if row.end is not None:
                yield row.end
            for attempt in row.attempts:
                yield from (t for t in (attempt.due, attempt.started, attempt.ended) if t is not None)
        for task in self.tasks:
            yield task.start
            if task.end is not None:
                yield task.end

    def work(self) -> Iterator[tuple[int, int]]:
        """Every stretch in which code ran. An attempt that was lost ran for an unknown time: it does not count."""
        for row in self.rows:
            for attempt in row.attempts:
                if attempt.started is not None and attempt.state is not State.LOST:
                    yield attempt.started, self.finish if attempt.ended is None else attempt.ended
        for task in self.tasks:
            yield task.start, self.finish if task.end is None else task.end

    def __str__(self) -> str:
        from perdure.view.text import text

        return text(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Jupyter's hook: SVG and a table in HTML, and the terminal's form."""
        from perdure.view.html import html
        from perdure.view.text import text

        return {"text/html": html(self), "text/plain": text(self)}
