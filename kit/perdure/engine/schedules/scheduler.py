"""The shell of schedules: it keeps their states, wakes them, and starts what they decide to start.

A schedule's document, its row for lists, and the first event of each workflow that it starts are appended in one transaction; so is
the end of such a workflow with what the schedule makes of it. A crash neither loses nor repeats a start. Alarms are set from the states;
between them nothing runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from temporalio.api.common.v1 import Memo, Payload, SearchAttributes, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.history.v1 import WorkflowExecutionCancelRequestedEventAttributes

from perdure.engine import externals, search_attributes, starting
from perdure.engine.closing import terminate_run
from perdure.engine.errors import ServiceError
from perdure.engine.records import ExecutionChanged, ExecutionClosed, ExecutionStarted, Record
from perdure.engine.runs import Run
from perdure.engine.schedules import decisions
from perdure.engine.schedules.decisions import End
from perdure.engine.schedules.state import DIVISION, KIND, Start, State, decode, encode
from perdure.engine.state import Execution
from perdure.engine.turn import Turn
from perdure.errors import StoreError

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

log = logging.getLogger("perdure.engine")

_Row: TypeAlias = tuple[Memo, SearchAttributes]
_TYPE, _QUEUE = "temporal-sys-scheduler-workflow", "temporal-sys-per-ns-tq"  # as in Temporal's lists


class Scheduler:
    """All schedules of an engine. Lives on its loop; no locks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._states: dict[tuple[str, str], State] = {}
        self._watched: dict[str, State] = {}  # by the first run id of what a schedule started

    def load(self) -> None:
        """Takes up what the file holds. What came due in the meantime is caught up with."""
        kept = self._engine.kept
        for namespace in kept.namespaces(KIND):
            for body in kept.of(KIND, namespace).values():
                state = decode(body)
                self._states[namespace, state.schedule_id] = state
        for state in list(self._states.values()):
            for execution in list(state.info.running_workflows):
                if self._running(state, execution) is None:
                    lost = End(execution.workflow_id, execution.run_id, 0)  # type: ignore[arg-type]
                    decisions.ended(state, lost)
            self._wake(state)

    def get(self, namespace: str, schedule_id: str) -> State | None:
        return self._states.get((namespace, schedule_id))

    # --- what users do

    def create(self, state: State, change: Callable[[int], None]) -> int:
        """A new schedule. `change`: what is done with it at once. Returns the ticket of the commit."""
        now = self._engine.clock.now()
        decisions.create(state, now)
        self._states[state.namespace, state.schedule_id] = state
        self._engine.runs.remember(state.namespace, state.schedule_id, DIVISION)
        memo, attributes = self._row(state)
        row = ExecutionStarted(
            state.namespace,
            state.schedule_id,
            state.run_id,
            state.run_id,
            _TYPE,
            _QUEUE,
            now,
            now,
            request_id=state.request_id,
            memo=memo,
            search_attributes=attributes,
            root_workflow_id=state.schedule_id,
            root_run_id=state.run_id,
            division=DIVISION,
        )
        change(now)
        return self._go_on(state, now, (memo, attributes), [row])

    def change(self, state: State, change: Callable[[int], None]) -> int:
        """Changes a schedule, after what came due before. Returns the ticket of the commit."""
        now, before = self._engine.clock.now(), self._row(state)
        decisions.advance(state, now)
        change(now)
        return self._go_on(state, now, before)

    def delete(self, state: State, status: WorkflowExecutionStatus.ValueType) -> int:
        """The schedule is gone; what it started goes on."""
        self._states.pop((state.namespace, state.schedule_id), None)
        self._engine.alarms.clear(self._key(state))
        self._watched = {run_id: owner for run_id, owner in self._watched.items() if owner is not state}
        gone = self._engine.kept.record(KIND, state.namespace, state.schedule_id, None)
        closed = ExecutionClosed(state.run_id, status, self._engine.clock.now(), 0, 0)
        return self._engine.journal.append([gone, closed])

    def delete_all(self, namespace: str) -> None:
        """The schedules of a namespace that is deleted."""
        for state in [state for state in self._states.values() if state.namespace == namespace]:
            self.delete(state, WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED)

    def _row(self, state: State) -> _Row:
        """What lists filter by."""
        attributes = SearchAttributes()
        attributes.CopyFrom(state.search_attributes)
        paused = b"true" if state.schedule.state.paused else b"false"
        attributes.indexed_fields["TemporalSchedulePaused"].CopyFrom(
            Payload(metadata={"encoding": b"json/plain", "type": b"Bool"}, data=paused)
        )
        memo = Memo()
        memo.CopyFrom(state.memo)
        return memo, attributes

    # --- what time and workflows do

    def _wake(self, state: State) -> None:
        """The schedule is looked at: its alarm rang, or the engine has just started."""
        try:
            now = self._engine.clock.now()
            if decisions.is_over(state, now):
                self.delete(state, WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED)
            else:
                self._go_on(state, now, self._row(state))
        except StoreError:
            raise  # nothing can be kept any more: whoever waits for a commit is told
        except Exception:
            log.exception("schedule %s could not go on", state.schedule_id)

    def closed(self, ex: Execution) -> list[Turn]:
        """A run ended, and no other goes on from it: its schedule, if it has one, may start another workflow."""
        state = self._watched.pop(ex.first_run_id, None)
        if state is None or ex.workflow_id not in _ids(state, ex.first_run_id):
            return []
        now, before = self._engine.clock.now(), self._row(state)
        decisions.ended(state, _end(ex))
        turns = self._decide(state, now)
        turn = self._engine.turn_of(ex)
        turn.records += self._records(state, before, now)
        return [turn, *turns]

    def _go_on(self, state: State, now: int, before: _Row, records: Sequence[Record] = ()) -> int:
        """Decides, and commits everything at once."""
        turns = self._decide(state, now)
        return self._engine.commit(*turns, records=[*records, *self._records(state, before, now)])

    def _records(self, state: State, before: _Row, now: int) -> list[Record]:
        """The document, and what lists filter by if it is another now."""
        records: list[Record] = []
        if (row := self._row(state)) != before:
            records.append(ExecutionChanged(state.run_id, now, "", *row))
        body = encode(state)
        if body != self._engine.kept.get(KIND, state.namespace, state.schedule_id):
            records.append(self._engine.kept.record(KIND, state.namespace, state.schedule_id, body))
        return records

    def _decide(self, state: State, now: int) -> list[Turn]:
        """Lets the schedule do what it may do now, and sets its alarm; returns the turns of other runs that come of it."""
        decisions.advance(state, now)
        turns: list[Turn] = []
        again = True
        while again:
            step = decisions.next_step(state)
            again = step.again
            for start in step.starts:
                turn = self._start(state, start, now)
                again |= turn is None
                turns += [turn] if turn is not None else []
            if step.terminate or step.cancel:
                turns += self._end_running(state, step.terminate)
        for run_id in decisions.watched(state):
            self._watched[run_id] = state
        self._set_alarm(state, now)
        return turns

    def _set_alarm(self, state: State, now: int) -> None:
        when = decisions.wake_time(state, now)
        if when is None:
            self._engine.alarms.clear(self._key(state))
        else:
            self._engine.alarms.set(self._key(state), when, partial(self._wake, state))

    def _key(self, state: State) -> tuple[str, str, str]:
        return KIND, state.namespace, state.schedule_id

    # --- other runs

    def _start(self, state: State, start: Start, now: int) -> Turn | None:
        """Starts a workflow; None when that is refused, and the action falls out."""
        engine = self._engine
        request = decisions.start_request(state, start)
        custom = engine.search_attributes.of(state.namespace)
        reuse = request.workflow_id_reuse_policy
        try:
            starting.check_start(request, engine.limits)
            search_attributes.check(request.search_attributes, custom, engine.limits, state.namespace)
        except ServiceError as error:
            log.warning("schedule %s could not start its workflow: %s", state.schedule_id, error.message)
            return None
        taken = engine.runs.open_run(state.namespace, request.workflow_id) is not None
        if taken or not engine.runs.may_reuse(state.namespace, request.workflow_id, reuse):
            log.warning(
                "schedule %s did not start workflow %s: the id is taken",
                state.schedule_id,
                request.workflow_id,
            )
            return None
        request.search_attributes.CopyFrom(search_attributes.typed(request.search_attributes, custom))
        run_id = engine.new_id()
        turn = starting.begin(
            state.namespace,
            run_id,
            starting.from_request(request, run_id, now, engine.limits),
            now,
            engine.limits,
            current_version=engine.definitions.current_version("workflow", request.workflow_type.name),
            request_id=request.request_id,
            user_metadata=request.user_metadata if request.HasField("user_metadata") else None,
        )
        starting.first_task(turn)
        engine.runs.add(turn.ex)
        execution = WorkflowExecution(workflow_id=request.workflow_id, run_id=run_id)
        decisions.started(state, start, execution, now)
        return turn

    def _running(self, state: State, execution: WorkflowExecution) -> Run | None:
        """The open run of a chain that the schedule started."""
        run = self._engine.runs.open_run(state.namespace, execution.workflow_id)
        return run if run is not None and run.ex.first_run_id == execution.run_id else None

    def _end_running(self, state: State, terminate: bool) -> list[Turn]:
        turns: list[Turn] = []
        for execution in state.info.running_workflows:
            run = self._running(state, execution)
            if run is None:
                continue
            turn = self._engine.turn(run)
            if terminate:
                terminate_run(turn, "terminated by schedule overlap policy", None, state.identity)
            else:
                attributes = WorkflowExecutionCancelRequestedEventAttributes(
                    cause="cancelled by schedule overlap policy", identity=state.identity
                )
                externals.request_cancel(turn, attributes)
            turns.append(turn)
        return turns


def _ids(state: State, first_run_id: str) -> set[str]:
    """The workflow ids that the schedule knows under a first run id."""
    executions = [
        *state.info.running_workflows,
        *(a.start_workflow_result for a in state.info.recent_actions),
    ]
    return {execution.workflow_id for execution in executions if execution.run_id == first_run_id}


def _end(ex: Execution) -> End:
    """How a run ended, as its last event tells."""
    completed = ex.events[-1].workflow_execution_completed_event_attributes
    failed = ex.events[-1].workflow_execution_failed_event_attributes
    return End(
        ex.workflow_id,
        ex.first_run_id,
        ex.status,  # type: ignore[arg-type]
        completed.result if completed.HasField("result") else None,
        failed.failure if failed.HasField("failure") else None,
    )
