"""The shell around the pure core: it holds the runs, commits turns, carries out their effects, and keeps time.

Everything runs on one loop, and a decision is never interrupted, so there are no locks. `commit` takes a turn,
follows its effects into other runs (a child's start, a parent's news), and appends the records of all of them
at once: one transaction for each cause.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Coroutine

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    SignalExternalWorkflowExecutionFailedCause,
    WorkflowIdReusePolicy,
)
from temporalio.api.history.v1 import (
    WorkflowExecutionCancelRequestedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)

from perdure.engine import deadlines, externals, starting
from perdure.engine.activities import lose_attempt
from perdure.engine.clock import Clock, Ids, SystemClock
from perdure.engine.closing import terminate_run
from perdure.engine.definitions import Definitions
from perdure.engine.journal import Journal
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.local_project import LocalProject
from perdure.engine.matching import Kind, Matching, Offer, QueueKey
from perdure.engine.processes import Lease, Processes, is_process_name, may_live
from perdure.engine.records import Definition, Record
from perdure.engine.recovery import recover
from perdure.engine.runs import Run, Runs
from perdure.engine.service import Service
from perdure.engine.state import Child, Execution
from perdure.engine.turn import (
    CancelExternal,
    Closed,
    Effect,
    EndChild,
    OfferActivity,
    OfferTask,
    SignalExternal,
    StartChild,
    StartRun,
    TellParent,
    Turn,
)
from perdure.engine.workflow_tasks import flush_buffer, schedule_task, time_out_task, unstick

_NO_TARGET_OF_SIGNAL = SignalExternalWorkflowExecutionFailedCause.Value(
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
)
_NO_TARGET_OF_CANCEL = CancelExternalWorkflowExecutionFailedCause.Value(
    "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
)

log = logging.getLogger("perdure.engine")


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
        self.runs = Runs(journal)
        self.matching = Matching(self.clock.now)
        self.processes = Processes()
        self.definitions = Definitions()
        self.service = Service(self)
        self.project = LocalProject(self)
        self._heap: list[tuple[int, str]] = []
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life

    async def start(self) -> None:
        """Takes up every open run where its last commit left it."""
        self.definitions.load(self.journal.definitions())
        self.runs.remember_ids()
        for records in self.journal.recover():
            self.runs.add(recover(records))
        for run in self.runs.open():
            self._resume(run)
        self._spawn(self._keep_time(), "perdure-timers")

    async def stop(self) -> None:
        """Ends timers and polls. What is committed stays; nothing else needs saving."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        if idle and (flush_buffer(turn) or (ex.task is None and ex.task_attempt > 1)):
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
        return Turn(run.ex, self.clock.now(), self.limits)

    def commit(self, *turns: Turn) -> int:
        """Appends what the turns and their effects decided, in one transaction; returns its ticket."""
        waiting = deque(turns)
        done: list[Turn] = []
        records: list[Record] = []
        offers: list[tuple[Execution, Effect]] = []
        while waiting:
            turn = waiting.popleft()
            done.append(turn)
            records += turn.records
            for effect in turn.effects:
                if isinstance(effect, OfferTask | OfferActivity):
                    offers.append((turn.ex, effect))
                else:
                    waiting.extend(self._carry_out(turn, effect))
        ticket = self.journal.append(records) if records else 0
        for turn in done:
            self._settle(turn.ex, ticket)
        for ex, effect in offers:
            self._offer(ex, effect)
        return ticket

    def _settle(self, ex: Execution, ticket: int) -> None:
        run = self.runs.in_memory(ex.run_id) or self.runs.add(ex)
        run.ticket = max(run.ticket, ticket)
        if not ex.open:
            self.runs.close(run)
        due = deadlines.next_deadline(ex)
        if due is not None and due != run.armed:
            heapq.heappush(self._heap, (due, ex.run_id))
            if self._heap[0] == (due, ex.run_id):
                self._wake.set()
        run.armed = due
        run.wake()

    # --- effects

    def _carry_out(self, turn: Turn, effect: Effect) -> list[Turn]:
        match effect:
            case StartChild(initiated_id):
                return self._start_child(turn.ex, turn.ex.children.get(initiated_id))
            case SignalExternal(initiated_id):
                return self._signal_external(turn.ex, initiated_id)
            case CancelExternal(initiated_id):
                return self._cancel_external(turn.ex, initiated_id)
            case StartRun(run_id, attributes):
                return [self._begin(turn.ex.namespace, run_id, attributes)]
            case TellParent():
                return self._tell_parent(turn.ex)
            case EndChild():
                return self._end_child(turn.ex, effect)
            case Closed() | OfferTask() | OfferActivity():
                return []

    def _begin(
        self, namespace: str, run_id: str, attributes: WorkflowExecutionStartedEventAttributes
    ) -> Turn:
        turn = starting.begin(
            namespace,
            run_id,
            attributes,
            self.clock.now(),
            self.limits,
            current_version=self.definitions.current_version("workflow", attributes.workflow_type.name),
        )
        starting.first_task(turn)
        self.runs.add(turn.ex)
        return turn

    def _start_child(self, parent: Execution, child: Child | None) -> list[Turn]:
        if child is None or not parent.open:
            return []
        turns: list[Turn] = []
        namespace, workflow_id = child.attributes.namespace, child.attributes.workflow_id
        reuse = child.attributes.workflow_id_reuse_policy
        existing = self.runs.open_run(namespace, workflow_id)
        back = Turn(parent, self.clock.now(), self.limits)
        if existing is not None:
            if reuse != WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
                externals.child_start_failed(back, child)
                return [back]
            end = self.turn(existing)
            terminate_run(end, "TerminateIfRunning WorkflowIdReusePolicy Policy", None, "history-service")
            turns.append(end)
        elif not self.runs.may_reuse(namespace, workflow_id, reuse):
            externals.child_start_failed(back, child)
            return [back]
        run_id = self.new_id()
        attributes = starting.from_child(
            parent, child.initiated_id, child.attributes, run_id, self.clock.now(), self.limits
        )
        turns.append(self._begin(namespace, run_id, attributes))
        externals.child_started(back, child, run_id)
        return [*turns, back]

    def _target(self, sender: Execution, execution: WorkflowExecution, child_only: bool) -> Run | None:
        run = self.runs.open_run(sender.namespace, execution.workflow_id)
        if run is None:
            return None
        if execution.run_id and run.ex.run_id != execution.run_id and run.ex.first_run_id != execution.run_id:
            return None
        if child_only and run.ex.started.parent_workflow_execution.run_id != sender.run_id:
            return None
        return run

    def _signal_external(self, sender: Execution, initiated_id: int) -> list[Turn]:
        attributes = sender.signals_out.get(initiated_id)
        if attributes is None or not sender.open:
            return []
        back = Turn(sender, self.clock.now(), self.limits)
        run = self._target(sender, attributes.workflow_execution, attributes.child_workflow_only)
        if run is None:
            cause = _NO_TARGET_OF_SIGNAL
            externals.signal_outcome(back, initiated_id, cause)
            return [back]
        turn = back if run.ex is sender else self.turn(run)
        externals.signal(
            turn,
            WorkflowExecutionSignaledEventAttributes(
                signal_name=attributes.signal_name,
                input=attributes.input if attributes.HasField("input") else None,
                identity="history-service",
                header=attributes.header if attributes.HasField("header") else None,
                external_workflow_execution=WorkflowExecution(
                    workflow_id=sender.workflow_id, run_id=sender.run_id
                ),
                request_id=f"{sender.run_id}:{initiated_id}",
            ),
        )
        externals.signal_outcome(back, initiated_id, None)
        return [back] if turn is back else [turn, back]

    def _cancel_external(self, sender: Execution, initiated_id: int) -> list[Turn]:
        attributes = sender.cancels_out.get(initiated_id)
        if attributes is None or not sender.open:
            return []
        back = Turn(sender, self.clock.now(), self.limits)
        target = attributes.workflow_execution
        run = self._target(sender, target, attributes.child_workflow_only)
        if run is None:
            known = self.runs.known(sender.namespace, target.workflow_id)
            cause = _NO_TARGET_OF_CANCEL
            externals.cancel_outcome(back, initiated_id, None if known else cause)
            return [back]
        turn = back if run.ex is sender else self.turn(run)
        externals.request_cancel(
            turn,
            WorkflowExecutionCancelRequestedEventAttributes(
                cause=attributes.reason,
                external_initiated_event_id=initiated_id,
                external_workflow_execution=WorkflowExecution(
                    workflow_id=sender.workflow_id, run_id=sender.run_id
                ),
                identity="history-service",
            ),
        )
        externals.cancel_outcome(back, initiated_id, None)
        return [back] if turn is back else [turn, back]

    def _tell_parent(self, child: Execution) -> list[Turn]:
        execution = child.started.parent_workflow_execution
        run = self.runs.in_memory(execution.run_id)
        if run is None or not run.ex.open:
            return []
        turn = self.turn(run)
        externals.child_closed(turn, child)
        return [turn]

    def _end_child(self, parent: Execution, effect: EndChild) -> list[Turn]:
        run = self.runs.open_run(parent.namespace, effect.workflow_id)
        if run is None or run.ex.first_run_id != effect.first_run_id:
            return []
        turn = self.turn(run)
        if effect.cancel:
            attributes = WorkflowExecutionCancelRequestedEventAttributes(
                cause="by parent close policy",
                external_workflow_execution=WorkflowExecution(
                    workflow_id=parent.workflow_id, run_id=parent.run_id
                ),
                identity="history-service",
            )
            externals.request_cancel(turn, attributes)
        else:
            terminate_run(turn, "by parent close policy", None, "history-service")
        return [turn]

    # --- offers

    def _offer(self, ex: Execution, effect: Effect) -> None:
        if isinstance(effect, OfferActivity):
            self._offer_activity(ex, effect.scheduled_id)
        else:
            self._offer_task(ex)

    def _offer_task(self, ex: Execution) -> None:
        task = ex.task
        if task is None or task.started or not ex.open:
            return
        key = self.queue_key(ex, task.queue, "workflow")
        if task.sticky and not self.matching.attended(
            key, self.clock.now() - self.limits.sticky_poller_memory
        ):
            turn = Turn(ex, self.clock.now(), self.limits)
            unstick(turn)
            self.commit(turn)
            return
        stamp = task.stamp

        def valid() -> bool:
            now = ex.task
            return now is not None and not now.started and now.stamp == stamp

        self.adopt("workflow", ex.workflow_type, ex.version)
        self.matching.offer(key, Offer("workflow", ex.run_id, task.scheduled_id, valid))

    def _offer_activity(self, ex: Execution, scheduled_id: int) -> None:
        activity = ex.activities.get(scheduled_id)
        if activity is None or activity.started or not ex.open:
            return
        stamp = activity.stamp

        def valid() -> bool:
            now = ex.activities.get(scheduled_id)
            return ex.open and now is not None and not now.started and now.stamp == stamp

        self.adopt("activity", activity.attributes.activity_type.name, "")
        key = self.queue_key(ex, activity.attributes.task_queue.name, "activity")
        self.matching.offer(key, Offer("activity", ex.run_id, scheduled_id, valid))

    def queue_key(self, ex: Execution, name: str, kind: Kind) -> QueueKey:
        return QueueKey(ex.namespace, name, kind)

    def accepts(self, identity: str, offer: Offer) -> bool:
        """Whether a poller with this identity can run what is offered."""
        run = self.runs.in_memory(offer.run_id)
        if run is None:
            return False
        ex = run.ex
        if offer.what == "activity":
            activity = ex.activities.get(int(offer.id))
            return activity is not None and self.processes.accepts_activity(
                identity, activity.attributes.activity_type.name, ex.workflow_type, ex.version
            )
        lease = self.processes.get(identity)
        if lease is not None and lease.number <= run.moved:
            return False
        return self.processes.accepts_workflow(identity, ex.workflow_type, ex.version)

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
            if run.ex.workflow_type in workflow_types and run.ex.task_failures and run.ex.task is not None:
                self.retry_now(run)

    def retry_now(self, run: Run) -> None:
        """Ends the pending attempt of a failing workflow task, so that the next one is offered at once."""
        turn = self.turn(run)
        if run.ex.task is not None and run.ex.task.started:
            time_out_task(turn)
            self.commit(turn)

    def process_gone(self, process: str) -> None:
        """A lease ended: what the process held is taken from it, its sticky queues are left."""
        queues = self.matching.process_gone(process)
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
        """A worker gave up its sticky queue."""
        self.matching.forget(name)
        for run in self.runs.open():
            if run.ex.sticky_queue == name or (run.ex.task is not None and run.ex.task.queue == name):
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
            time_out_task(turn)

    def leave(self, lease: Lease) -> None:
        if self.processes.leave(lease):
            self.process_gone(lease.process)

    # --- time

    async def _keep_time(self) -> None:
        """Fires what is due, for ever."""
        while True:
            self._wake.clear()
            while self._heap and self._stale(*self._heap[0]):
                heapq.heappop(self._heap)
            await self.clock.sleep_until(self._heap[0][0] if self._heap else None, self._wake)
            self._fire_due()
            await asyncio.sleep(0)

    def _stale(self, when: int, run_id: str) -> bool:
        run = self.runs.in_memory(run_id)
        return run is None or run.armed != when

    def _fire_due(self) -> None:
        now = self.clock.now()
        while self._heap and self._heap[0][0] <= now:
            when, run_id = heapq.heappop(self._heap)
            if self._stale(when, run_id):
                continue
            run = self.runs.in_memory(run_id)
            assert run is not None
            run.armed = None
            turn = self.turn(run)
            deadlines.fire(turn, self.new_id)
            self.commit(turn)
