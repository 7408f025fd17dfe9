"""Any program, crashed anywhere: what was committed folds into the state that was lost, and nothing acknowledged is gone."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from engine_driver import (
    Driver,
    application_failure,
    cancel_timer,
    complete_workflow,
    in_engine,
    name,
    schedule_activity,
    start_timer,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import RetryPolicy, WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    ResetActivityRequest,
    RespondWorkflowTaskFailedRequest,
    UnpauseActivityRequest,
)

from perdure.engine import deadlines
from perdure.engine.errors import ServiceError
from perdure.engine.protos import SECOND
from perdure.engine.recovery import recover
from perdure.engine.state import Execution
from perdure.engine.turn import Turn

STEPS = (
    "signal",
    "take task",
    "answer task",
    "fail task",
    "take activity",
    "complete activity",
    "fail activity",
    "heartbeat",
    "pause activities",
    "unpause activities",
    "reset activities",
    "time passes",
    "crash",
    "close",
)


@dataclass
class World:
    """One program's world: the driver, and what it holds in its hands."""

    d: Driver
    task: PollWorkflowTaskQueueResponse | None = None
    activities: list[PollActivityTaskQueueResponse] = field(default_factory=list)
    signals: int = 0
    completed: Counter[str] = field(default_factory=Counter)
    made: int = 0
    timers: list[str] = field(default_factory=list)

    def commands(self, choice: int) -> list[Command]:
        self.made += 1
        policy = RetryPolicy(maximum_attempts=choice % 3)
        commands = [schedule_activity(f"a{self.made}", policy=policy)] if choice % 2 else []
        if choice % 3 == 0:
            commands.append(start_timer(f"t{self.made}", 5 + choice))
        return commands


async def waiting(coroutine: object) -> object | None:
    """The answer of a poll, if there is something to poll."""
    poll = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
    for _ in range(8):
        await asyncio.sleep(0)
    if poll.done():
        return poll.result()  # type: ignore[no-any-return]
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    return None


async def play(w: World, step: str, choice: int) -> None:
    d = w.d
    if d.engine.runs.open_run("default", "w") is None:
        return
    try:
        match step:
            case "signal":
                await d.signal(f"s{choice}")
                w.signals += 1
            case "take task":
                if w.task is None:
                    w.task = await waiting(d.workflow_task())  # type: ignore[assignment]
            case "answer task" if w.task is not None:
                task, w.task = w.task, None
                await d.complete(task, *w.commands(choice))
            case "fail task" if w.task is not None:
                task, w.task = w.task, None
                await d.call(
                    "RespondWorkflowTaskFailed", RespondWorkflowTaskFailedRequest(task_token=task.task_token)
                )
            case "take activity":
                if (taken := await waiting(d.activity_task())) is not None:
                    w.activities.append(taken)  # type: ignore[arg-type]
            case "complete activity" if w.activities:
                activity = w.activities.pop(choice % len(w.activities))
                await d.complete_activity(activity)
                w.completed[activity.activity_id] += 1
            case "fail activity" if w.activities:
                await d.fail_activity(w.activities.pop(0), application_failure())
            case "heartbeat" if w.activities:
                token = w.activities[choice % len(w.activities)].task_token
                await d.call(
                    "RecordActivityTaskHeartbeat", RecordActivityTaskHeartbeatRequest(task_token=token)
                )
            case "pause activities" | "unpause activities" | "reset activities":
                await operate(d, step, choice)
            case "time passes":
                d.clock.advance(choice * SECOND)
                for _ in range(8):
                    await asyncio.sleep(0)
            case "crash":
                w.d = await d.crash()
            case "close" if w.task is not None and choice > 10:
                task, w.task = w.task, None
                await d.complete(task, complete_workflow())
    except ServiceError:
        pass  # stale tokens, unhandled events: refused, as they must be; the invariants say whether rightly


async def operate(d: Driver, step: str, choice: int) -> None:
    where: dict[str, Any] = {"namespace": "default", "execution": WorkflowExecution(workflow_id="w")}
    if step == "pause activities":
        await d.call("PauseActivity", PauseActivityRequest(**where, type="act"))
    elif step == "unpause activities":
        request = UnpauseActivityRequest(**where, unpause_all=True, reset_attempts=bool(choice % 2))
        await d.call("UnpauseActivity", request)
    else:
        keep, heartbeat = bool(choice % 2), bool(choice % 3)
        request = ResetActivityRequest(**where, match_all=True, keep_paused=keep, reset_heartbeat=heartbeat)
        await d.call("ResetActivity", request)


def shape(ex: Execution) -> dict[str, object]:
    """What recovery must bring back; stickiness, stamps and virtual tasks are the process's own."""
    return {
        "events": [(e.event_id, name(e)) for e in ex.events],
        "status": ex.status,
        "timers": {t: v.fire_time for t, v in ex.timers.items()},
        "activities": {
            i: [getattr(a, f.name) for f in fields(a) if f.name not in ("stamp", "offered")]
            for i, a in ex.activities.items()
        },
        "buffer": [(b.seq, name(b.event)) for b in ex.buffer],
        "signals": ex.signal_count,
        "requests": ex.signal_requests,
        "previous": (ex.previous_started_id, ex.previous_completed_id),
        "version": ex.version,
    }


async def check(w: World) -> None:
    summary = await w.d.journal.latest_run("default", "w")
    assert summary is not None
    run_id = summary.run_id
    run = w.d.engine.runs.in_memory(run_id)
    records = await w.d.journal.read_run(run_id)
    assert run is not None and records is not None
    assert shape(recover(copy.deepcopy(records))) == shape(run.ex)
    events = run.ex.events
    assert [e.event_id for e in events] == list(range(1, len(events) + 1))
    closings = Counter(
        e.activity_task_completed_event_attributes.scheduled_event_id
        for e in events
        if name(e) == "ActivityTaskCompleted"
    )
    assert all(count == 1 for count in closings.values())
    buffered = sum(name(b.event) == "WorkflowExecutionSignaled" for b in run.ex.buffer)
    assert (
        sum(name(e) == "WorkflowExecutionSignaled" for e in events) + buffered == w.signals or not run.ex.open
    )
    assert all(count == 1 for count in w.completed.values())


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 15)), max_size=60))
def test_every_program_survives_crashes(program: list[tuple[str, int]]) -> None:
    async def main() -> None:
        w = World(Driver())
        await w.d.engine.start()
        with w.d.clock.held():
            await w.d.start()
            for step, choice in program:
                await play(w, step, choice)
                await check(w)
        await w.d.engine.stop()

    asyncio.run(main())


def test_a_cancelled_timer_is_not_fired_by_recovery() -> None:
    async def main() -> None:
        d = Driver()
        await d.engine.start()
        await d.start()
        await d.step(start_timer("1", 3600))
        await d.signal()
        await d.step(cancel_timer("1"))
        after = await d.crash()
        assert not after.run().ex.timers
        await after.engine.stop()

    asyncio.run(main())


def test_a_turn_that_breaks_off_leaves_no_hole_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        d = Driver()
        await d.engine.start()
        await d.start()
        task = await d.workflow_task()
        with monkeypatch.context() as broken:
            broken.setattr("perdure.engine.completion._eager", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await d.complete(task, start_timer())
        assert (await d.names())[-1] == "WorkflowTaskStarted"
        await d.complete(task, start_timer())
        assert (await d.names())[-2:] == ["WorkflowTaskCompleted", "TimerStarted"]
        await d.engine.stop()

    asyncio.run(main())


def test_a_timer_that_breaks_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        d = Driver()
        await d.engine.start()
        for workflow_id in ("bad", "good"):
            await d.start(workflow_id)
            await d.step(start_timer("1", 5))
        fire = deadlines.fire

        def break_one(turn: Turn, new_run_id: Callable[[], str]) -> None:
            fire(turn, new_run_id)
            if turn.ex.workflow_id == "bad":
                monkeypatch.setattr(deadlines, "fire", fire)
                raise ZeroDivisionError

        monkeypatch.setattr(deadlines, "fire", break_one)
        tasks = {(await d.workflow_task()).workflow_execution.workflow_id for _ in range(2)}
        assert tasks == {"bad", "good"}
        assert [e.event_id for e in await d.history("bad")] == list(range(1, 9))
        await d.engine.stop()

    asyncio.run(main())
    assert "could not be fired" in caplog.text


@in_engine
async def test_state_transitions_are_counted_and_survive(driver: Driver) -> None:
    await driver.start()
    driver.clock.advance(1)
    task = await driver.workflow_task()
    driver.clock.advance(1)
    await driver.complete(task, start_timer())
    assert driver.run().ex.transitions == 3  # the start, the task's start, its completion
    successor = await driver.crash()
    assert successor.run().ex.transitions == 3
    await successor.engine.stop()
    await driver.signal()
    await driver.step(complete_workflow())
    run = await driver.engine.runs.latest("default", "w")
    assert run is not None
    closed = driver.journal.runs[run.ex.run_id].closed
    assert closed is not None
    assert closed.state_transitions == run.ex.transitions == 6
