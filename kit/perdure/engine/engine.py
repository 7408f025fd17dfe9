"""The shell around the pure core: it holds the runs, commits turns, carries out their effects, and keeps time.

Everything runs on one loop, and a decision is never interrupted, so there are no locks. `commit` takes a turn,
follows its effects into other runs (a child's start, a parent's news), and appends the records of all of them
at once: one transaction for each cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from functools import partial

from perdure.engine import bounds, deadlines, time_skipping
from perdure.engine.activities import lose_attempt
from perdure.engine.alarms import Alarms
from perdure.engine.attribute_registry import AttributeRegistry
from perdure.engine.batches import Batches
from perdure.engine.clock import Clock, Ids, SystemClock
from perdure.engine.closing import enforce
from perdure.engine.definitions import Definitions
from perdure.engine.effects import Effects
from perdure.engine.journal import Journal
from perdure.engine.kept import Documents
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.local_project import LocalProject
from perdure.engine.matching import Matching
from perdure.engine.namespace_registry import Namespaces
from perdure.engine.offers import Offers
from perdure.engine.processes import Lease, Processes, is_process_name, may_live
from perdure.engine.queue_config import kept_limits
from perdure.engine.records import Definition, Record, VersionsNoted
from perdure.engine.recovery import recover
from perdure.engine.registry import Registry
from perdure.engine.routing import Routing
from perdure.engine.runs import Run, Runs
from perdure.engine.schedules import state as schedules
from perdure.engine.schedules.scheduler import Scheduler
from perdure.engine.service import Service
from perdure.engine.state import Execution
from perdure.engine.turn import (
    OfferActivity,
    OfferTask,
    Turn,
)
from perdure.engine.workers import Workers
from perdure.engine.workflow_tasks import flush_buffer, lose_task, schedule_task, unstick
from perdure.errors import StoreError

log = logging.getLogger("perdure.engine")

_READ_AT_ONCE = 500  # parked runs


class Engine:
    """The embedded engine. Create it, and use it, on one event loop.

    Args:
        journal: where records go; see `perdure.engine.journal`.
        clock: the time; `perdure.testing` has one that jumps.
        limits: Temporal's limits.
    """

    def __init__(self, journal: Journal, clock: Clock | None = None, limits: Limits = DEFAULT) -> None:
        self.journal = journal
        self.clock = clock or SystemClock()
        self.limits = limits
        self.new_id = Ids(self.clock)
        self.incarnation = self.new_id()  # differs each time that the file is opened
        self.runs = Runs(journal, limits)
        self.kept = Documents(journal, self.clock.now)
        self.namespaces = Namespaces(self.kept)
        self.search_attributes = AttributeRegistry(self.kept)
        self.deployments = Registry(self.kept)
        self.batches = Batches(self)
        self.workers = Workers(self.clock.now)
        self.alarms = Alarms(self.clock)
        self.routing = Routing(self)
        self.matching = Matching(self.clock, self.alarms, self.routing.group_of)
        self.processes = Processes()
        self.definitions = Definitions()
        self.service = Service(self)
        self.project = LocalProject(self)
        self.scheduler = Scheduler(self)
        self._effects = Effects(self)
        self._offers = Offers(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: list[str] = []  # parked runs whose deadline has come

    # --- life

    async def start(self) -> None:
        """Takes up every open run where its last commit left it."""
        self.definitions.load(self.journal.definitions())
        self.kept.load()
        self.deployments.load()
        for key, limits in kept_limits(self.kept):
            self.matching.limit(key, limits)
        self.runs.remember_ids()
        for records in self.journal.recover():
            if records.started.division == schedules.DIVISION:
                continue  # a row for lists, without a history
            run = self.runs.add(recover(records))
            run.appended = len(records.events)
            self._resume(run)
        self.service.resume()
        for job in self.batches.load():
            self.batches.run(job)
        self.scheduler.load()
        self._spawn(self.alarms.keep(), "perdure-timers")

    async def stop(self) -> None:
        """Ends timers and polls. What is committed stays; nothing else needs saving."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def run_aside(self, work: Coroutine[None, None, None], name: str) -> None:
        """Runs something on the engine's loop that ends with the engine."""
        self._spawn(work, name)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resume(self, run: Run) -> None:
        """A recovered run: what its dead workers held is taken from them, what waits is offered again."""
        ex = run.ex
        turn = self.turn(run)
        holders = {a.process for a in ex.activities.values() if a.started and a.process}
        if ex.task is not None and ex.task.started:
            holders.add(ex.task.identity)
        gone = {name for name in holders if is_process_name(name) and not may_live(name)}
        # a virtual task stood in memory only: its buffer is flushed, and it is scheduled anew
        idle = ex.task is None or not ex.task.started
        if idle and (flush_buffer(turn) or ex.task_owed):
            schedule_task(turn)
        if ex.task is not None and not ex.task.started:
            if ex.task.sticky:
                unstick(turn)
            else:
                turn.effects.append(OfferTask())
        self._take_from(turn, gone)
        self.commit(turn)
        if waiting := {name for name in holders - gone if is_process_name(name)}:
            self._spawn(self._expect(waiting), "perdure-lease-grace")

    async def _expect(self, processes: set[str]) -> None:
        """Processes that lived when the engine restarted attend again soon, or are given up."""
        await self.clock.sleep_until(self.clock.now() + self.limits.lease_grace, asyncio.Event())
        for process in processes:
            if self.processes.get(process) is None:
                self.process_gone(process)

    # --- turns

    def turn(self, run: Run) -> Turn:
        return self.turn_of(run.ex)

    def turn_of(self, ex: Execution) -> Turn:
        types = self.search_attributes.of(ex.namespace)
        return Turn(
            ex,
            self.clock.now() + ex.skipped,
            self.limits,
            attribute_types=types,
            namespace_id=self.namespaces.id_of,
        )

    def commit(self, *turns: Turn, records: Sequence[Record] = ()) -> int:
        """Appends `records`, and what the turns and their effects decided, in one transaction; returns its ticket."""
        waiting = deque(turns)
        done: list[Turn] = []
        records = list(records)
        offers: list[tuple[Execution, OfferTask | OfferActivity]] = []
        while waiting:
            turn = waiting.popleft()
            enforce(turn)
            self._warn(turn)
            done.append(turn)
            records += turn.records
            for effect in turn.effects:
                if isinstance(effect, OfferTask | OfferActivity):
                    offers.append((turn.ex, effect))
                else:
                    waiting.extend(self._effects.carry_out(turn, effect))
        for turn in self._skip_time(done):
            done.append(turn)
            records += turn.records
        for turn in done:
            if (note := turn.ex.versioning.note()) is not None:
                records.append(VersionsNoted(turn.ex.run_id, turn.now, note))
        ticket = self.journal.append(records) if records else 0
        for ex in {id(turn.ex): turn.ex for turn in done if turn.records}.values():
            ex.transitions += 1
        for turn in done:
            self._settle(turn, ticket)
        self.runs.park()
        for ex, effect in offers:
            self._offers.make(ex, effect)
        return ticket

    @staticmethod
    def _warn(turn: Turn) -> None:
        for warning in bounds.warnings(turn):
            log.warning("%s Workflow %s, run %s", warning, turn.ex.workflow_id, turn.ex.run_id)

    def _skip_time(self, turns: list[Turn]) -> list[Turn]:
        """Runs that these turns left idle jump ahead, if they may."""
        skipping = {id(turn.ex): turn.ex for turn in turns if turn.ex.skipping is not None}
        following = [self.turn_of(ex) for ex in skipping.values()]
        return [turn for turn in following if time_skipping.skip(turn)]

    def _settle(self, turn: Turn, ticket: int) -> None:
        ex = turn.ex
        run = self.runs.in_memory(ex.run_id) or self.runs.add(ex)
        run.ticket = max(run.ticket, ticket)
        run.appended = len(ex.events)
        if ex.open:
            self.runs.settled(run)
        else:
            self.runs.close(run)
        armed = run.armed + ex.skipped if run.armed is not None else None
        due = deadlines.deadline_after(ex, turn.records, armed)
        due = due - ex.skipped if due is not None else None
        if due != run.armed:
            if due is not None:
                self.alarms.set(ex.run_id, due, partial(self._fire, ex.run_id))
            else:
                self.alarms.clear(ex.run_id)
        run.armed = due
        run.wake()

    async def mend(self) -> None:
        """After an error of our own: runs whose turn was broken off are read again from what was committed.

        Their memory holds events that the file does not; going on with it would leave holes in the history.
        """
        for run in self.runs.open():
            if len(run.ex.events) == run.appended:
                continue
            log.error("run %s of workflow %s is read again from the file", run.ex.run_id, run.ex.workflow_id)
            await self.journal.durable(run.ticket)
            records = await self.journal.read_run(run.ex.run_id)
            assert records is not None
            run.ex.task = None  # offers of the broken state are stale
            run.ex.activities.clear()
            run.ex = recover(records)
            run.appended = len(records.events)
            self._resume(run)

    # --- processes and their definitions

    def adopt(self, kind: str, name: str, version: str) -> None:
        """When the file has a definition that no attending process declared, one that adopts is asked to load it."""
        for lease in self.processes:
            if lease.runs_workflow(name, version) if kind == "workflow" else lease.runs_activity(name):
                return
        if definition := self.definitions.find(kind, name, version):
            self.processes.ask_adoption(definition)

    def adopt_pending(self) -> None:
        """Looks over all open runs for definitions that nobody declared."""
        for run in self.runs.open():
            if not run.ex.division:
                self.adopt("workflow", run.ex.workflow_type, run.ex.version)
            for activity in run.ex.activities.values():
                self.adopt("activity", activity.attributes.activity_type.name, "")

    def declared(self, process: str, definitions: list[Definition]) -> int:
        """A process declared what it can run. New versions are kept; failing workflow tasks that it may mend are tried at once."""
        new = self.definitions.add(definitions, self.clock.now())
        ticket = self.journal.append(new) if new else 0
        self.processes.declare(process, definitions)
        if new:
            self.retry_failing({d.name for d in new if d.kind == "workflow"})
        self.matching.reconsider()
        self.adopt_pending()
        return ticket

    def retry_failing(self, workflow_types: set[str]) -> None:
        """Open runs of these types whose workflow task failed are tried now, not when the started attempt times out."""
        for run in self.runs.open():
            task = run.ex.task
            if run.ex.workflow_type in workflow_types and task and (run.ex.task_failures or task.attempt > 1):
                self.retry_now(run)

    def retry_now(self, run: Run) -> None:
        """Ends the started attempt of a workflow task, so that it is offered again at once."""
        turn = self.turn(run)
        if run.ex.task is not None and run.ex.task.started:
            lose_task(turn)
            self.commit(turn)

    def process_gone(self, process: str) -> None:
        """A lease ended: what the process held is taken from it, its sticky queues are left."""
        queues = self.matching.process_gone(process)
        self.runs.leave_sticky_queues(queues)
        for run in self.runs.open():
            turn = self.turn(run)
            if run.ex.sticky_queue in queues:
                unstick(turn)
            self._take_from(turn, {process})
            if turn.records or turn.effects:
                self.commit(turn)
        self.matching.reconsider()
        self.adopt_pending()

    def leave_sticky_queue(self, name: str) -> None:
        """A worker gave up its sticky queue: what lies there moves; later tasks find that nobody polls it."""
        self.matching.forget(name)
        for run in self.runs.open():
            if run.ex.task is not None and run.ex.task.queue == name:
                turn = self.turn(run)
                unstick(turn)
                self.commit(turn)

    def _take_from(self, turn: Turn, processes: set[str]) -> None:
        """Ends the attempts and the workflow task that dead processes held."""
        ex = turn.ex
        for activity in list(ex.activities.values()):
            if activity.started and activity.process in processes:
                lose_attempt(
                    turn, activity, f"worker process lost: {activity.process} ended during this attempt"
                )
        if ex.task is not None and ex.task.started and ex.task.identity in processes:
            lose_task(turn)

    def attend(self, process: str, adopts: bool) -> Lease:
        """A lease begins. What the process declared may have come before it, and count from now on."""
        lease = self.processes.attend(process, adopts)
        self.matching.reconsider()
        self.adopt_pending()
        return lease

    def leave(self, lease: Lease) -> None:
        if self.processes.leave(lease):
            self.process_gone(lease.process)

    # --- time

    def _fire(self, run_id: str) -> None:
        """A run's deadline has come. Parked runs are read again without holding up the others."""
        if self.runs.parked(run_id):
            self._due.append(run_id)
            if len(self._due) == 1:
                self._spawn(self._fire_parked(), "perdure-parked")
            return
        run = self.runs.in_memory(run_id)
        if run is not None:
            self._fire_run(run)

    def _fire_run(self, run: Run) -> None:
        run.armed = None
        try:
            turn = self.turn(run)
            deadlines.fire(turn, self.new_id)
            self.commit(turn)
        except StoreError:
            raise  # nothing can be kept any more: whoever waits for a commit is told
        except Exception:
            log.exception(
                "a timer of run %s (workflow %s) could not be fired", run.ex.run_id, run.ex.workflow_id
            )
            self._spawn(self.mend(), "perdure-mend")

    async def _fire_parked(self) -> None:
        while self._due:
            batch = self._due[:_READ_AT_ONCE]
            await self.runs.bring_back(batch)
            for run_id in batch:
                run = self.runs.in_memory(run_id)
                if run is not None:
                    self._fire_run(run)
            del self._due[: len(batch)]
