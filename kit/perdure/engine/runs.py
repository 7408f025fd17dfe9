"""Runs as the shell holds them: the pure state, and who waits for it.

Open runs are in memory, as far as `Limits.open_bytes` goes: beyond it those that have been quiet longest are *parked*, which means
left to the file. Whoever asks for a parked run gets it back, so that nobody need know. A parked run that somebody
still holds, a caller who waits for its result say, is the same object when it is back.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from temporalio.api.enums.v1 import WorkflowExecutionStatus, WorkflowIdReusePolicy
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import RespondQueryTaskCompletedRequest

from perdure.engine.journal import Journal
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.parking import quiet, weight
from perdure.engine.records import RunRecords
from perdure.engine.recovery import recover
from perdure.engine.state import Execution
from perdure.engine.versions import Versioning

FAILED = frozenset(  # how a run must have ended for ALLOW_DUPLICATE_FAILED_ONLY
    (
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
    )
)


Key: TypeAlias = tuple[str, str, str]  # namespace, division, workflow id

DIRECT = -1  # a query's task_stamp when it has a task of its own


@dataclass(eq=False, slots=True)
class Query:
    """A question to a run. `answer` carries the worker's reply, buffered and direct ones in the same form."""

    id: str
    query: WorkflowQuery
    answer: asyncio.Future[RespondQueryTaskCompletedRequest]
    task_stamp: int | None = None  # of the workflow task that carries it; None while it waits for one


@dataclass(eq=False, slots=True, weakref_slot=True)
class Run:
    """One run in memory.

    `ticket`: of its last append; `appended`: how many of its events were; `armed`: the deadline that lies in the timer heap.
    """

    ex: Execution
    ticket: int = 0
    appended: int = 0
    armed: int | None = None
    revision: int = 0
    moved: int = 0  # leases up to this number may have instances of an older version in their caches
    queries: dict[str, Query] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Everyone who waits for a change looks again."""
        self.revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change. Take it before anything else may run, or that change is missed."""
        return self._changed

    async def change(self, seconds: float | None = None) -> bool:
        """Waits for the next change; False after `seconds` without one."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True


def _key(ex: Execution) -> Key:
    return ex.namespace, ex.division, ex.workflow_id


@dataclass(frozen=True, slots=True)
class _Parked:
    """What must be known of a run that was left to the file, because its records do not say it."""

    run: weakref.ref[Run]
    key: Key
    ticket: int
    armed: int | None
    moved: int
    sticky_queue: str
    sticky_timeout: int
    versioning: Versioning


class Runs:
    """Open runs, and the closed ones that were last asked for. Reading a closed run goes to the journal."""

    def __init__(self, journal: Journal, limits: Limits = DEFAULT) -> None:
        self._journal = journal
        self._open: dict[str, Run] = {}
        self._open_bytes = limits.open_bytes
        self._weights: dict[str, int] = {}  # of the open runs in memory
        self._weight = 0
        self._quiet: OrderedDict[str, None] = OrderedDict()  # longest first
        self._parked: dict[str, _Parked] = {}
        self._closed: OrderedDict[str, Run] = OrderedDict()
        self._closed_bytes = limits.closed_bytes
        self._kept_bytes = 0
        self._current: dict[Key, str] = {}  # the newest run in memory of each id
        self._ever: set[Key] = set()
        self._readers: Counter[str] = Counter()  # who is reading a run from the file
        self._leavings: Counter[str] = Counter()  # how often such a run left memory meanwhile
        self._deleted: set[str] = set()  # the file may still have them for a moment

    def remember_ids(self) -> None:
        """Learns which workflow ids the file holds, so that a new id needs no look-up."""
        self._ever.update(self._journal.workflow_ids())

    def add(self, ex: Execution) -> Run:
        run = Run(ex)
        if ex.open:
            self._open[ex.run_id] = run
        key = _key(ex)
        self._current[key] = ex.run_id
        self._ever.add(key)
        self._deleted.discard(ex.run_id)
        return run

    def close(self, run: Run) -> None:
        """The run is closed: it moves among those that memory may forget."""
        self._open.pop(run.ex.run_id, None)
        self._quiet.pop(run.ex.run_id, None)
        self._weight -= self._weights.pop(run.ex.run_id, 0)
        self._keep(run)

    def forget(self, run: Run) -> None:
        """The run was deleted, after it was closed."""
        ex = run.ex
        self._deleted.add(ex.run_id)
        if self._closed.pop(ex.run_id, None) is not None:
            self._kept_bytes -= ex.history_size
        if self._current.get(_key(ex)) == ex.run_id:
            del self._current[_key(ex)]

    async def forget_id(self, namespace: str, workflow_id: str, division: str = "") -> None:
        """After runs of a workflow id were deleted: if none is left, the id was never used."""
        key = (namespace, division, workflow_id)
        if (
            await self._journal.latest_run(*(namespace, workflow_id, division)) is None
            and key not in self._current
        ):
            self._ever.discard(key)

    def settled(self, run: Run) -> None:
        """The open run has changed: what it weighs, and whether it may be parked, is seen anew."""
        run_id, size = run.ex.run_id, weight(run.ex)
        self._weight += size - self._weights.get(run_id, 0)
        self._weights[run_id] = size
        self._quiet.pop(run_id, None)
        if quiet(run.ex):
            self._quiet[run_id] = None

    def park(self) -> None:
        """Leaves to the file what memory has no room for. Not in the middle of a transaction."""
        while self._weight > self._open_bytes and self._quiet:
            run = self._open[next(iter(self._quiet))]
            if run.ticket > self._journal.committed or not quiet(run.ex):
                return
            ex = run.ex
            del self._quiet[ex.run_id], self._open[ex.run_id]
            self._left(ex.run_id)
            self._weight -= self._weights.pop(ex.run_id)
            self._parked[ex.run_id] = _Parked(
                *(weakref.ref(run), _key(ex), run.ticket, run.armed, run.moved),
                *(ex.sticky_queue, ex.sticky_timeout, ex.versioning),
            )

    def _bring_back(self, run_id: str, records: RunRecords | None = None) -> Run | None:
        """A parked run in memory again; None if it is not parked."""
        parked = self._parked.pop(run_id, None)
        if parked is None:
            return None
        run = parked.run()
        if run is None:
            records = records or self._journal.read_run_now(run_id)
            assert records is not None
            ex = recover(records)
            ex.sticky_queue, ex.sticky_timeout = parked.sticky_queue, parked.sticky_timeout
            ex.versioning = parked.versioning
            run = Run(ex, parked.ticket, len(ex.events), parked.armed, moved=parked.moved)
        self._open[run_id] = run
        self.settled(run)
        return run

    def parked(self, run_id: str) -> bool:
        return run_id in self._parked

    async def bring_back(self, run_ids: Sequence[str]) -> None:
        """Brings parked runs back, all at once."""
        for run_id, records in (await self._read(run_ids)).items():
            self._bring_back(run_id, records)

    async def _read(self, run_ids: Sequence[str]) -> dict[str, RunRecords]:
        """Runs as the file has them; never as they were before somebody else had them in memory in the meantime."""
        self._readers.update(run_ids)
        found: dict[str, RunRecords] = {}
        try:
            missing = list(run_ids)
            while missing:
                before = {run_id: self._leavings[run_id] for run_id in missing}
                found |= await self._journal.read_runs(missing)
                missing = [run_id for run_id in missing if self._leavings[run_id] != before[run_id]]
        finally:
            self._readers.subtract(run_ids)
            for run_id in run_ids:
                if not self._readers[run_id]:
                    del self._readers[run_id], self._leavings[run_id]
        return found

    def _left(self, run_id: str) -> None:
        """A run left memory: what others are just reading of it may be old."""
        if self._readers[run_id]:
            self._leavings[run_id] += 1

    def leave_sticky_queues(self, names: set[str]) -> None:
        """Parked runs of these sticky queues get their next task from the normal one."""
        for run_id, parked in self._parked.items():
            if parked.sticky_queue in names:
                self._parked[run_id] = replace(parked, sticky_queue="")
                if run := parked.run():
                    run.ex.sticky_queue = ""

    def _keep(self, run: Run) -> None:
        if run.ex.run_id not in self._closed:
            self._kept_bytes += run.ex.history_size
        self._closed[run.ex.run_id] = run
        self._closed.move_to_end(run.ex.run_id)
        while self._kept_bytes > self._closed_bytes and len(self._closed) > 1:
            run_id, old = next(iter(self._closed.items()))
            if old.ticket > self._journal.committed:
                return  # whoever read it now would find it open
            del self._closed[run_id]
            self._left(run_id)
            self._kept_bytes -= old.ex.history_size
            key = _key(old.ex)
            if self._current.get(key) == run_id:
                del self._current[key]

    def open(self) -> list[Run]:
        """The open runs that are not parked. Those that are have no task and no attempt with a worker."""
        return list(self._open.values())

    def in_memory(self, run_id: str) -> Run | None:
        """A run that is open, or was closed not long ago."""
        return self._open.get(run_id) or self._closed.get(run_id) or self._bring_back(run_id)

    def open_run(self, namespace: str, workflow_id: str, division: str = "") -> Run | None:
        """The open run of a workflow id."""
        run = self.in_memory(self._current.get((namespace, division, workflow_id), ""))
        return run if run is not None and run.ex.open else None

    def remember(self, namespace: str, workflow_id: str, division: str) -> None:
        """An id that a row without a history takes."""
        self._ever.add((namespace, division, workflow_id))

    def known(self, namespace: str, workflow_id: str, division: str = "") -> bool:
        """Whether there ever was a run of this workflow id."""
        return (namespace, division, workflow_id) in self._ever

    def may_reuse(self, namespace: str, workflow_id: str, policy: int, division: str = "") -> bool:
        """Whether a workflow id without an open run may be started again. Its newest run must be in memory, if there is one."""
        if policy == WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE:
            return not self.known(namespace, workflow_id, division)
        if policy == WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY:
            last = self.in_memory(self._current.get((namespace, division, workflow_id), ""))
            return last is None or last.ex.status in FAILED
        return True

    async def latest(self, namespace: str, workflow_id: str, division: str = "") -> Run | None:
        """The newest run of a workflow id, open or closed."""
        key = (namespace, division, workflow_id)
        if current := self._current.get(key):
            return await self.get(namespace, workflow_id, current, division)
        if key not in self._ever:
            return None
        summary = await self._journal.latest_run(namespace, workflow_id, division)
        run = None if summary is None else await self.get(namespace, workflow_id, summary.run_id, division)
        if run is not None and self.in_memory(self._current.get(key, "")) is None:
            self._current[key] = run.ex.run_id
        return self.in_memory(self._current.get(key, ""))

    async def get(self, namespace: str, workflow_id: str, run_id: str, division: str = "") -> Run | None:
        """A run by its id; None if there is none, or it is of another workflow id or division."""
        if run_id in self._deleted:
            return None
        run = self._open.get(run_id) or self._closed.get(run_id)
        if run is None:
            records = (await self._read([run_id])).get(run_id)
            if run_id in self._deleted:
                return None
            run = self._open.get(run_id) or self._closed.get(run_id) or self._bring_back(run_id, records)
            run = run or (self._load(records) if records is not None else None)
        if run is None or _key(run.ex) != (namespace, division, workflow_id):
            return None
        return run

    def _load(self, records: RunRecords) -> Run:
        run = Run(recover(records), appended=len(records.events))
        self._keep(run)
        return run
