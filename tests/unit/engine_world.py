"""Random programs on an engine: clients, workers, time and crashes; and what must hold after each step.

`World` plays everyone who talks to the engine, through its RPCs only. Each step is one method with a `Random` of its own, so that
a hypothesis machine can drive it as well as a plain loop. `World.check` looks at the engine and at what it has kept.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from engine_driver import QUEUE, Driver, application_failure, name, payload, schedule_activity, start_timer
from google.protobuf.any_pb2 import Any as Packed
from history_rules import CLOSING, COMMANDS, pending, problems
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import RetryPolicy, TimeSkippingConfig, WorkflowExecution
from temporalio.api.enums.v1 import CommandType, ParentClosePolicy, UpdateWorkflowExecutionLifecycleStage
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Outcome, Rejection, Request, Response
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RequestCancelWorkflowExecutionRequest,
    ResetActivityRequest,
    ResetWorkflowExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondWorkflowTaskFailedRequest,
    TerminateWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine import deadlines
from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration
from perdure.engine.records import RunRecords
from perdure.engine.recovery import recover
from perdure.engine.runs import Run
from perdure.engine.state import RUNNING, Execution, UpdateStage
from perdure.testing import MemoryJournal

STICKY = "sticky"
IDS = ("w0", "w1")
_ACCEPTED = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
_REFUSALS = (Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED, Code.FAILED_PRECONDITION)
_QUIET = {
    "WorkflowExecutionOptionsUpdated",
    "WorkflowExecutionTimeSkippingTransitioned",
    "WorkflowExecutionPaused",
}

Read = Callable[[Driver], Awaitable[list[RunRecords]]]


async def read_memory(driver: Driver) -> list[RunRecords]:
    return list(driver.journal.runs.values())


class World:
    """Everyone around one engine.

    Args:
        read: all records that the engine has kept.
        replayable: only what a workflow's code can repeat: see test_engine_replay.
    """

    def __init__(self, driver: Driver, *, read: Read = read_memory, replayable: bool = False) -> None:
        self.driver = driver
        self.read = read
        self.replayable = replayable
        self.tasks: list[PollWorkflowTaskQueueResponse] = []  # taken, and not answered
        self.attempts: list[PollActivityTaskQueueResponse] = []
        self.polls: list[asyncio.Task[Any]] = []  # that wait on the sticky queue
        self.answered: list[PollWorkflowTaskQueueResponse] = []
        self.signals: dict[str, str] = {}  # acknowledged: name -> workflow id
        self.updates: dict[str, tuple[str, asyncio.Task[Any]]] = {}  # sent: id -> workflow id, the call
        self.accepted: dict[str, Outcome | None] = {}  # acknowledged: id -> outcome, if it has come
        self.scripts: dict[
            str, dict[int, list[tuple[Any, ...]]]
        ] = {}  # run -> started event -> what the code did
        self.count = 0
        self.resets = 0
        driver.clock.hold()

    # --- clients

    async def start(self, rng: Random) -> None:
        policy = RetryPolicy(maximum_attempts=2, initial_interval=duration(5 * SECOND))
        options: dict[str, Any] = rng.choice(
            (
                {},
                {},
                {"workflow_run_timeout": duration(600 * SECOND)},
                {"workflow_execution_timeout": duration(2000 * SECOND), "retry_policy": policy},
                {"workflow_start_delay": duration(20 * SECOND)},
                {"time_skipping_config": TimeSkippingConfig(enabled=True, max_session_skip_count=3)},
            )
        )
        try:
            await self.driver.start(rng.choice(IDS), **options)
        except ServiceError as error:
            assert error.code is Code.ALREADY_EXISTS

    async def signal(self, rng: Random) -> None:
        workflow_id, signal = self._any_id(rng), self._new("signal")
        if await self._refused(self.driver.signal(signal, workflow_id, request_id=signal)):
            return
        self.signals[signal] = workflow_id
        if rng.random() < 0.3:  # the answer got lost, and it is sent again
            await self._refused(self.driver.signal(signal, workflow_id, request_id=signal))

    async def cancel(self, rng: Random) -> None:
        execution = WorkflowExecution(workflow_id=self._any_id(rng))
        request = RequestCancelWorkflowExecutionRequest(namespace="default", workflow_execution=execution)
        await self._refused(self.driver.call("RequestCancelWorkflowExecution", request))

    async def terminate(self, rng: Random) -> None:
        execution = WorkflowExecution(workflow_id=self._any_id(rng))
        request = TerminateWorkflowExecutionRequest(namespace="default", workflow_execution=execution)
        await self._refused(self.driver.call("TerminateWorkflowExecution", request))

    async def update(self, rng: Random) -> None:
        update_id = self._new("update")
        workflow_id = self._any_id(rng)
        request = UpdateWorkflowExecutionRequest(namespace="default")
        request.workflow_execution.workflow_id = workflow_id
        request.request.meta.update_id, request.request.input.name = update_id, "change"
        request.wait_policy.lifecycle_stage = _ACCEPTED
        call = asyncio.create_task(self.driver.call("UpdateWorkflowExecution", request))
        self.updates[update_id] = (workflow_id, call)
        await self._breathe()

    # --- operators

    async def pause(self, rng: Random) -> None:
        """Pauses a run, or lets it go on."""
        workflow_id = self._any_id(rng)
        if rng.random() < 0.4:
            request = PauseWorkflowExecutionRequest(namespace="default", workflow_id=workflow_id)
            await self._refused(self.driver.call("PauseWorkflowExecution", request))
        else:
            back = UnpauseWorkflowExecutionRequest(namespace="default", workflow_id=workflow_id)
            await self._refused(self.driver.call("UnpauseWorkflowExecution", back))

    async def reset(self, rng: Random) -> None:
        """Goes back to the end of some workflow task."""
        runs = [run for run in await self.read(self.driver) if run.started.workflow_id in IDS]
        if not runs:
            return
        records = rng.choice(runs)
        points = [event.event_id for event in records.events if name(event) == "WorkflowTaskCompleted"]
        if not points:
            return
        base, point = records.started.run_id, rng.choice(points)
        request = ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=records.started.workflow_id, run_id=base),
            workflow_task_finish_event_id=point,
            request_id=self._new("reset"),
        )
        try:
            response = await self.driver.call("ResetWorkflowExecution", request)
        except ServiceError as error:
            assert error.code in (Code.NOT_FOUND, Code.INVALID_ARGUMENT), error
            return
        self.resets += 1
        self.scripts[response.run_id] = {
            started: script for started, script in self.scripts.get(base, {}).items() if started < point - 1
        }

    async def operate_activity(self, rng: Random) -> None:
        pending = [(run.ex, a) for run in self._open() for a in run.ex.activities.values()]
        if not pending:
            return
        ex, activity = rng.choice(pending)
        method, kind = rng.choice(
            (
                ("PauseActivity", PauseActivityRequest),
                ("UnpauseActivity", UnpauseActivityRequest),
                ("UnpauseActivity", UnpauseActivityRequest),
                ("ResetActivity", ResetActivityRequest),
            )
        )
        request = kind(namespace="default", id=activity.id)
        request.execution.workflow_id, request.execution.run_id = ex.workflow_id, ex.run_id
        await self._refused(self.driver.call(method, request))

    async def look(self, rng: Random) -> None:
        """Reading changes nothing."""
        before = await self._lengths()
        workflow_id = self._any_id(rng)
        request = DescribeWorkflowExecutionRequest(namespace="default")
        request.execution.workflow_id = workflow_id
        if not await self._refused(self.driver.call("DescribeWorkflowExecution", request)):
            await self.driver.history(workflow_id)
        assert await self._lengths() == before

    # --- workers

    async def take_task(self, rng: Random) -> None:
        if self._offered(QUEUE):
            task = await asyncio.wait_for(self.driver.workflow_task(), 5)
            assert task.task_token
            self.tasks.append(task)

    async def wait_on_sticky_queue(self, rng: Random) -> None:
        if len(self.polls) < 2:
            self.polls.append(asyncio.create_task(self.driver.workflow_task(STICKY)))
            await self._breathe()

    async def complete_task(self, rng: Random) -> None:
        if not self.tasks:
            return
        task = self.tasks.pop(rng.randrange(len(self.tasks)))
        commands, messages, script = self._work(rng, task)
        sticky = STICKY if rng.random() < 0.5 else ""
        heartbeat = not commands and not messages and rng.random() < 0.2
        refused = await self._refused(
            self.driver.complete(
                task,
                *commands,
                sticky=sticky,
                messages=messages,
                force_create_new_workflow_task=heartbeat,
            )
        )
        if not refused:
            self.answered.append(task)
            run_id = task.workflow_execution.run_id
            self.scripts.setdefault(run_id, {})[task.started_event_id] = script

    async def answer_twice(self, rng: Random) -> None:
        """A late or repeated answer is refused, and leaves no trace."""
        if not self.answered:
            return
        task = rng.choice(self.answered)
        before = await self._lengths()
        assert await self._refused(self.driver.complete(task)), "an old answer was taken"
        assert await self._lengths() == before

    async def fail_task(self, rng: Random) -> None:
        if self.tasks:
            task = self.tasks.pop(rng.randrange(len(self.tasks)))
            request = RespondWorkflowTaskFailedRequest(
                task_token=task.task_token, failure=application_failure()
            )
            if not await self._refused(self.driver.call("RespondWorkflowTaskFailed", request)):
                self.answered.append(task)

    async def send_nonsense(self, rng: Random) -> None:
        """Commands that no workflow may give fail the task, and nothing of the completion is carried out."""
        if self.tasks:
            task = self.tasks.pop()
            nonsense = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
            nonsense.cancel_timer_command_attributes.timer_id = "never started"
            assert await self._refused(self.driver.complete(task, start_timer("lost"), nonsense))

    async def take_attempt(self, rng: Random) -> None:
        if any(self._due(run.ex) for run in self._open()):
            attempt = await asyncio.wait_for(self.driver.activity_task(), 5)
            assert attempt.task_token
            self.attempts.append(attempt)

    async def end_attempt(self, rng: Random) -> None:
        if not self.attempts:
            return
        attempt = self.attempts.pop(rng.randrange(len(self.attempts)))
        end = rng.choice(("complete", "complete", "fail", "fail for good", "cancel"))
        if end == "complete":
            await self._refused(self.driver.complete_activity(attempt))
        elif end == "cancel":
            request = RespondActivityTaskCanceledRequest(task_token=attempt.task_token)
            await self._refused(self.driver.call("RespondActivityTaskCanceled", request))
        else:
            failure = application_failure(non_retryable=end == "fail for good")
            await self._refused(self.driver.fail_activity(attempt, failure))

    async def beat(self, rng: Random) -> None:
        if self.attempts:
            attempt = rng.choice(self.attempts)
            request = RecordActivityTaskHeartbeatRequest(
                task_token=attempt.task_token, details=payload(self._new("beat"))
            )
            await self._refused(self.driver.call("RecordActivityTaskHeartbeat", request))

    # --- time and trouble

    async def pass_time(self, rng: Random) -> None:
        self.driver.clock.advance(rng.choice((1, 1, 2, 2, 6, 6, 11, 61, 700)) * SECOND)
        for _ in range(30):
            await asyncio.sleep(0)

    async def crash(self, rng: Random) -> None:
        await self._leave()
        self.driver = await self.driver.crash()

    async def lose(self, rng: Random) -> None:
        """The process dies before the last thing that was asked of it is on disk: so nobody can have been told."""
        journal = getattr(self.driver, "journal", None)
        if not isinstance(journal, MemoryJournal):
            return
        kept = copy.deepcopy(journal)
        journal.hold()
        asked = rng.choice(
            ("start", "signal", "cancel", "take_task", "complete_task", "end_attempt", "pause")
        )
        call = asyncio.create_task(getattr(self, asked)(Random(rng.random())))
        for _ in range(40):
            await asyncio.sleep(0)
        assert not (journal.waits and call.done()), f"{asked} was answered before it was kept"
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await self._leave()
        await self.driver.engine.stop()
        self.driver = Driver(kept, self.driver.clock)
        await self.driver.engine.start()

    async def end(self) -> None:
        """Every task that is offered can be taken; then everyone goes."""
        try:
            for _ in range(200):
                if not self._offered(QUEUE):
                    break
                await self.take_task(Random(0))
            else:
                raise AssertionError("tasks without end")
            for _ in range(200):
                if not any(self._due(run.ex) for run in self._open()):
                    break
                await self.take_attempt(Random(0))
            await self.check()
        finally:
            await self._leave()
            await self.driver.engine.stop()

    async def _leave(self) -> None:
        going = [*self.polls, *(call for _, call in self.updates.values())]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        self.polls.clear()
        self.updates.clear()

    # --- what a workflow's code might do

    def _work(
        self, rng: Random, task: PollWorkflowTaskQueueResponse
    ) -> tuple[list[Command], list[Message], list[tuple[Any, ...]]]:
        run = self.driver.engine.runs.in_memory(task.workflow_execution.run_id)
        events = run.ex.events[: max(0, task.started_event_id - 1)] if run is not None else []
        events = [event for event in events if event.event_id < task.started_event_id]
        commands, messages = self._answers(rng, task, events)
        code = _Code(rng, events, self)
        if self.replayable and not commands and not _news(events):
            return [], messages, []
        for _ in range(rng.choice((0, 1, 1, 2, 3, 4))):
            code.do()
        if rng.random() < 0.08:
            code.close()
        return [*commands, *code.commands], messages, code.script

    def _answers(
        self, rng: Random, task: PollWorkflowTaskQueueResponse, events: list[HistoryEvent]
    ) -> tuple[list[Command], list[Message]]:
        """To the updates that came with the task, and to those that were accepted before."""
        messages: list[Message] = []
        commands: list[Command] = []

        def say(update_id: str, what: Any, commanded: bool = True) -> None:
            body = Packed()
            body.Pack(what)
            message = Message(id=self._new("message"), protocol_instance_id=update_id, body=body)
            messages.append(message)
            if commanded:
                command = Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
                command.protocol_message_command_attributes.message_id = message.id
                commands.append(command)

        done = Response(outcome=Outcome(success=payload("done")))
        for waiting, what in pending(events).items():
            if what == "WorkflowExecutionUpdateAccepted" and rng.random() < 0.5:
                accepted = events[waiting - 1].workflow_execution_update_accepted_event_attributes
                say(accepted.protocol_instance_id, done)
        for message in task.messages:
            request = Request()
            message.body.Unpack(request)
            update_id = message.protocol_instance_id
            if rng.random() < 0.3:
                rejection = Rejection(
                    rejected_request_message_id=message.id,
                    rejected_request_sequencing_event_id=message.event_id,
                    rejected_request=request,
                    failure=application_failure(),
                )
                say(update_id, rejection, commanded=False)
                continue
            say(
                update_id,
                Acceptance(
                    accepted_request_message_id=message.id,
                    accepted_request_sequencing_event_id=message.event_id,
                    accepted_request=request,
                ),
            )
            if self.replayable or rng.random() < 0.5:
                say(update_id, done)
        return commands, messages

    # --- helpers

    def _new(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def _open(self) -> list[Run]:
        return self.driver.engine.runs.open()

    def _any_id(self, rng: Random) -> str:
        children = [run.ex.workflow_id for run in self._open() if run.ex.workflow_id not in IDS]
        return rng.choice((*IDS, *IDS, *children))

    def _offered(self, queue: str) -> bool:
        return any(
            run.ex.status == RUNNING
            and run.ex.task is not None
            and not run.ex.task.started
            and run.ex.task.queue == queue
            for run in self._open()
        )

    def _due(self, ex: Execution) -> bool:
        now = self.driver.clock.now() + ex.skipped
        return ex.status == RUNNING and any(
            not a.started and a.due_time <= now and a.paused is None for a in ex.activities.values()
        )

    async def _refused(self, call: Awaitable[Any]) -> bool:
        """Whether the engine refused: only ever for what may be refused."""
        try:
            await call
        except ServiceError as error:
            assert error.code in _REFUSALS, error
            return True
        return False

    async def _breathe(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _lengths(self) -> dict[str, int]:
        return {
            run.started.run_id: len(run.events) + len(run.buffered) for run in await self.read(self.driver)
        }

    # --- what must hold

    async def check(self) -> None:
        await self._breathe()
        for poll in [poll for poll in self.polls if poll.done()]:
            self.polls.remove(poll)
            if poll.result().task_token:
                self.tasks.append(poll.result())
        self._hear_of_updates()
        kept = {run.started.run_id: run for run in await self.read(self.driver)}
        for records in kept.values():
            assert problems(records.events) == [], _story(records.events)
            _check_pending(records)
        for run in self._open():
            self._check_run(run, kept[run.ex.run_id])
        self._check_acknowledged(list(kept.values()))
        self._check_chains(kept)

    def _hear_of_updates(self) -> None:
        for update_id, (_, call) in list(self.updates.items()):
            if not call.done():
                continue
            del self.updates[update_id]
            try:
                response = call.result()
            except ServiceError as error:
                assert error.code in (
                    Code.NOT_FOUND,
                    Code.UNAVAILABLE,
                    Code.ABORTED,
                    Code.FAILED_PRECONDITION,
                    Code.RESOURCE_EXHAUSTED,
                ), error
                continue
            if response.outcome.HasField("failure"):
                continue  # rejected, or the run closed over it
            if response.stage >= _ACCEPTED:
                self.accepted[update_id] = response.outcome if response.HasField("outcome") else None

    def _check_run(self, run: Run, records: RunRecords) -> None:
        ex = run.ex
        assert what_is_kept(recover(records)) == what_is_kept(ex), _story(ex.events)
        due = deadlines.next_deadline(ex)
        assert run.armed == (None if due is None else due - ex.skipped), _story(ex.events)
        assert due is None or due > self.driver.clock.now() + ex.skipped, (
            "something was due, and did not happen"
        )
        if ex.task is not None or ex.first_task_time or ex.status != RUNNING:
            return
        assert not ex.buffer, "something waits for the end of a task that is not there"
        unheard = [name(event) for event in ex.events[ex.previous_completed_id :]]
        unheard = [what for what in unheard if what not in COMMANDS and what not in _QUIET]
        assert not unheard, f"the workflow never hears of {unheard}:\n{_story(ex.events)}"
        assert not any(update.stage is UpdateStage.ADMITTED for update in ex.updates.values())

    def _check_acknowledged(self, kept: list[RunRecords]) -> None:
        signals: dict[str, list[str]] = {}
        updates: set[str] = set()
        for records in kept:
            for event in [*records.events, *(buffered.event for buffered in records.buffered)]:
                signaled = event.workflow_execution_signaled_event_attributes
                if signaled.signal_name:
                    signals.setdefault(signaled.signal_name, []).append(records.started.workflow_id)
                updates.add(event.workflow_execution_update_accepted_event_attributes.protocol_instance_id)
        for signal, workflow_id in self.signals.items():
            found = signals.get(signal, [])
            assert set(found) == {workflow_id}, f"{signal} was acknowledged: {found}"
            assert len(found) == 1 or self.resets, f"{signal} came {len(found)} times"
        assert set(self.accepted) <= updates, "an accepted update is gone"

    def _check_chains(self, kept: dict[str, RunRecords]) -> None:
        """The next run of a chain is there; an id has one open run at most."""
        open_ids = [run.ex.workflow_id for run in self._open()]
        assert len(open_ids) == len(set(open_ids))
        for records in kept.values():
            if records.closed is not None and records.closed.new_run_id:
                assert records.closed.new_run_id in kept
            assert (records.closed is not None) == (name(records.events[-1]) in CLOSING)


def what_is_kept(ex: Execution) -> dict[str, Any]:
    """The part of a run's state that outlives the process: not what is virtual, sticky, or on its way to a worker."""
    task = ex.task if ex.task is not None and not ex.task.virtual else None
    return {
        "events": ex.events,
        "status": (ex.status, ex.close_time, ex.new_run_id),
        "task": task
        and (task.scheduled_id, task.started_id, task.attempt, task.timeout, task.identity, task.request_id),
        "previous": (ex.previous_started_id, ex.previous_completed_id),
        "first task": ex.first_task_time,
        "activities": {
            scheduled_id: (
                *(a.attempt, a.due_time, a.scheduled_time, a.started_time, a.identity, a.process),
                *(a.heartbeat_time, a.heartbeat_details, a.last_failure, a.last_ended_time),
                *(a.cancel_requested_id, a.attributes),
            )
            for scheduled_id, a in ex.activities.items()
        },
        "activity ids": ex.activity_ids,
        "timers": ex.timers,
        "children": ex.children,
        "others": (ex.signals_out, ex.cancels_out),
        "buffer": [(buffered.seq, buffered.event) for buffered in ex.buffer],
        "updates": {
            update.update_id: (update.stage, update.accepted_id, update.outcome)
            for update in ex.updates.values()
            if update.stage in (UpdateStage.ACCEPTED, UpdateStage.COMPLETED)
        },
        "requests": (ex.cancel_requested, set(ex.signal_requests), ex.start_request_id),
        "shown": (ex.memo, ex.search_attributes, ex.version),
        "time": ex.skipping,
        "paused": (ex.paused, ex.paused_time, [a.paused for a in ex.activities.values()]),
        "reset": (ex.reset_of, ex.reset_run_id),
    }


def _check_pending(records: RunRecords) -> None:
    """What the state holds as pending is what has begun in the history and not ended, there or in the buffer."""
    if records.closed is not None:
        return
    ex = recover(records)
    begun = pending([*records.events])
    ended = {
        getattr(attributes, by)
        for buffered in records.buffered
        for field, attributes in buffered.event.ListFields()
        if field.name.endswith("_attributes")
        and not field.name.startswith(("activity_task_started", "child"))
        for by in ("scheduled_event_id", "started_event_id", "initiated_event_id")
        if hasattr(attributes, by)
    }
    activities = {i for i, what in begun.items() if what == "ActivityTaskScheduled"}
    timers = {i for i, what in begun.items() if what == "TimerStarted"}
    assert set(ex.activities) == activities - ended
    assert {timer.started_id for timer in ex.timers.values()} == timers - ended


def _news(events: list[HistoryEvent]) -> bool:
    """Whether there is something for code to react to since its last task: else it cannot give commands."""
    for event in reversed(events):
        if name(event) == "WorkflowTaskCompleted":
            return False
        if not name(event).startswith("WorkflowTask") and name(event) not in COMMANDS | _QUIET:
            return True
    return True


def _story(events: list[HistoryEvent]) -> str:
    return "\n".join(f"{event.event_id} {name(event)}" for event in events)


class _Code:
    """The commands of one workflow task, as code could give them that knows these events; and the same as a script."""

    def __init__(self, rng: Random, events: list[HistoryEvent], world: World) -> None:
        self._rng = rng
        self._events = events
        self._world = world
        self._pending = pending(events)
        self._counts = {
            what: sum(name(event) == what for event in events)
            for what in ("ActivityTaskScheduled", "TimerStarted")
        }
        cancelled = {
            event.activity_task_cancel_requested_event_attributes.scheduled_event_id for event in events
        }
        self._cancellable = [
            i for i, what in self._pending.items() if what == "ActivityTaskScheduled" and i not in cancelled
        ]
        self._timers = [i for i, what in self._pending.items() if what == "TimerStarted"]
        self.commands: list[Command] = []
        self.script: list[tuple[Any, ...]] = []

    def do(self) -> None:
        self._rng.choice(
            (
                self._activity,
                self._activity,
                self._timer,
                self._timer,
                self._cancel_activity,
                self._cancel_timer,
                self._child,
                self._signal,
                self._cancel_other,
                self._memo,
            )
        )()

    def _add(self, command: Command, *script: Any) -> None:
        self.commands.append(command)
        self.script.append(script)

    def _activity(self) -> None:
        self._counts["ActivityTaskScheduled"] += 1
        activity_id = str(self._counts["ActivityTaskScheduled"])
        policy = RetryPolicy(maximum_attempts=self._rng.choice((1, 2, 3)))
        timeouts = self._rng.choice(
            (
                {},
                {"heartbeat_timeout": 5},
                {"schedule_to_start_timeout": 30},
                {"schedule_to_close_timeout": 40},
            )
        )
        eager = self._rng.random() < 0.2
        command = schedule_activity(activity_id, policy=policy, timeouts=timeouts, eager=eager)
        self._add(command, "activity", activity_id)

    def _cancel_activity(self) -> None:
        if self._cancellable:
            scheduled_id = self._cancellable.pop(self._rng.randrange(len(self._cancellable)))
            command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
            command.request_cancel_activity_task_command_attributes.scheduled_event_id = scheduled_id
            attributes = self._events[scheduled_id - 1].activity_task_scheduled_event_attributes
            self._add(command, "cancel activity", attributes.activity_id)

    def _timer(self) -> None:
        self._counts["TimerStarted"] += 1
        timer_id = str(self._counts["TimerStarted"])
        seconds = self._rng.choice((1, 5, 60, 3600))
        self._add(start_timer(timer_id, seconds), "timer", timer_id, seconds)

    def _cancel_timer(self) -> None:
        if self._timers:
            started = self._timers.pop(self._rng.randrange(len(self._timers)))
            timer_id = self._events[started - 1].timer_started_event_attributes.timer_id
            command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
            command.cancel_timer_command_attributes.timer_id = timer_id
            self._add(command, "cancel timer", timer_id)

    def _child(self) -> None:
        workflow_id = self._world._new("child") if self._rng.random() < 0.8 else IDS[1]
        command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
        attributes = command.start_child_workflow_execution_command_attributes
        attributes.workflow_id, attributes.workflow_type.name = workflow_id, "Flow"
        attributes.task_queue.name = QUEUE
        policies = (
            ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE,
            ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON,
            ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
        )
        attributes.parent_close_policy = self._rng.choice(policies)
        self._add(command, "child", workflow_id)

    def _signal(self) -> None:
        workflow_id = self._rng.choice((*IDS, "nobody"))
        command = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
        attributes = command.signal_external_workflow_execution_command_attributes
        attributes.execution.workflow_id = workflow_id
        attributes.signal_name = self._world._new("from a workflow ")
        self._add(command, "signal", workflow_id, attributes.signal_name)

    def _cancel_other(self) -> None:
        workflow_id = self._rng.choice((*IDS, "nobody"))
        command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)
        command.request_cancel_external_workflow_execution_command_attributes.workflow_id = workflow_id
        self._add(command, "cancel", workflow_id)

    def _memo(self) -> None:
        key = self._world._new("memo")
        command = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
        fields = command.modify_workflow_properties_command_attributes.upserted_memo.fields
        fields[key].CopyFrom(payload("x").payloads[0])
        self._add(command, "memo", key)

    def close(self) -> None:
        kinds = ["complete", "fail", "continue"]
        told = max((e.event_id for e in self._events if name(e) == "WorkflowTaskCompleted"), default=0)
        if any(name(event) == "WorkflowExecutionCancelRequested" for event in self._events[:told]):
            kinds.append("cancelled")
        kind = self._rng.choice(kinds)
        command = Command(
            command_type={
                "complete": CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
                "fail": CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
                "continue": CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
                "cancelled": CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
            }[kind]
        )
        if kind == "fail":
            command.fail_workflow_execution_command_attributes.failure.CopyFrom(application_failure())
        self._add(command, "close", kind)


STEPS: dict[str, int] = {  # a step's method, and how often it is taken
    "start": 5,
    "signal": 6,
    "cancel": 1,
    "terminate": 1,
    "update": 4,
    "take_task": 20,
    "wait_on_sticky_queue": 6,
    "complete_task": 30,
    "answer_twice": 1,
    "fail_task": 2,
    "send_nonsense": 1,
    "take_attempt": 12,
    "end_attempt": 12,
    "beat": 2,
    "pause": 2,
    "reset": 1,
    "operate_activity": 3,
    "look": 1,
    "pass_time": 8,
    "crash": 2,
    "lose": 3,
}


async def random_program(world: World, seed: int, steps: int) -> None:
    """One program, without hypothesis: the same for the same seed."""
    rng = Random(seed)
    for step in rng.choices(list(STEPS), list(STEPS.values()), k=steps):
        await getattr(world, step)(Random(rng.random()))
        await world.check()
