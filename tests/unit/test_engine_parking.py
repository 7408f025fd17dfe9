"""Quiet runs are left to the file when memory is short, and nobody notices."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from engine_driver import PARKING, Driver, complete_workflow, schedule_activity, start_child, start_timer
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.history.v1 import WorkflowExecutionOptionsUpdatedEventAttributes
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    ResetStickyTaskQueueRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure.engine.limits import DEFAULT
from perdure.engine.parking import quiet
from perdure.engine.records import RunRecords


def parking(test: Callable[[Driver], Awaitable[None]]) -> Callable[[], None]:
    """Runs an async test with an engine that has no memory for quiet runs."""

    def run() -> None:
        async def main() -> None:
            driver = Driver(limits=PARKING)
            await driver.engine.start()
            with driver.clock.held():
                await asyncio.wait_for(test(driver), 20)
            await driver.engine.stop()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


async def waiting_run(d: Driver, workflow_id: str = "w") -> str:
    run_id = await d.start(workflow_id)
    await d.step(start_timer(seconds=60))
    assert d.engine.runs.parked(run_id)
    return run_id


@parking
async def test_a_parked_run_comes_back_for_its_timer(d: Driver) -> None:
    run_id = await waiting_run(d)
    d.clock.advance(61 * 10**9)
    await d.step(complete_workflow())
    assert not d.engine.runs.parked(run_id)
    assert (await d.names())[4:] == [
        "TimerStarted",
        "TimerFired",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]


@parking
async def test_a_parked_run_comes_back_for_a_signal(d: Driver) -> None:
    run_id = await waiting_run(d)
    await d.signal("go")
    assert not d.engine.runs.parked(run_id)
    await d.step(complete_workflow())
    assert (await d.names())[5] == "WorkflowExecutionSignaled"


@parking
async def test_whoever_waits_for_a_parked_run_hears_of_its_end(d: Driver) -> None:
    run_id = await waiting_run(d)
    request = GetWorkflowExecutionHistoryRequest(
        namespace="default",
        execution=WorkflowExecution(workflow_id="w", run_id=run_id),
        wait_new_event=True,
        history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
    )
    result = asyncio.create_task(d.call("GetWorkflowExecutionHistory", request))
    await asyncio.sleep(0)
    await d.signal("go")
    await d.step(complete_workflow())
    (event,) = (await result).history.events
    assert event.HasField("workflow_execution_completed_event_attributes")


@parking
async def test_many_parked_runs_whose_timers_are_due_together(d: Driver) -> None:
    for number in range(600):
        await waiting_run(d, f"w{number}")
    assert d.engine.runs.open() == []
    d.clock.advance(61 * 10**9)
    for _ in range(600):
        await d.step(complete_workflow())
    assert all([(await d.names(f"w{number}"))[-1] == "WorkflowExecutionCompleted" for number in range(600)])


@parking
async def test_a_parked_parent_hears_of_its_child(d: Driver) -> None:
    run_id = await d.start("parent")
    await d.step(start_child("child"))
    await d.step()  # the child has started
    task = await d.workflow_task("children")
    assert d.engine.runs.parked(run_id)
    await d.complete(task, complete_workflow())
    assert "ChildWorkflowExecutionCompleted" in await d.names("parent")


@parking
async def test_a_parked_run_keeps_its_sticky_queue_until_that_is_given_up(d: Driver) -> None:
    await d.start()
    await d.complete(await d.workflow_task(), start_timer(), sticky="sticky")
    waiting = asyncio.create_task(d.workflow_task("sticky"))
    await asyncio.sleep(0)
    await d.signal("one")
    task = await waiting
    assert task.history.events[0].event_id > 1
    await d.complete(task, sticky="sticky")
    request = ResetStickyTaskQueueRequest(
        namespace="default",
        execution=WorkflowExecution(workflow_id="w", run_id=task.workflow_execution.run_id),
    )
    await d.call("ResetStickyTaskQueue", request)
    await d.signal("two")
    assert (await d.workflow_task()).history.events[0].event_id == 1


@parking
async def test_a_run_with_something_under_way_stays(d: Driver) -> None:
    run_id = await d.start()
    assert not d.engine.runs.parked(run_id)
    await d.step(schedule_activity())
    assert not d.engine.runs.parked(run_id)  # the attempt lies in a queue
    task = await d.activity_task()
    assert not d.engine.runs.parked(run_id)  # a worker has it
    await d.fail_activity(task)
    assert d.engine.runs.parked(run_id)  # it waits for its next attempt
    d.clock.advance(10**9)
    await d.complete_activity(await d.activity_task())
    assert "ActivityTaskCompleted" in await d.names()


@pytest.mark.parametrize("there_is_room", [True, False])
def test_what_memory_has_room_for_stays(there_is_room: bool) -> None:
    async def main() -> None:
        d = Driver(limits=DEFAULT if there_is_room else PARKING)
        await d.engine.start()
        run_id = await d.start()
        await d.step(start_timer(seconds=60))
        assert quiet(d.run().ex)
        d.engine.runs.park()
        assert d.engine.runs.parked(run_id) is not there_is_room
        await d.engine.stop()

    asyncio.run(main())


def test_a_closed_run_stays_in_memory_until_the_file_says_so() -> None:
    """Else its worker's late answer would find it open in the file."""

    async def main() -> None:
        d = Driver(limits=replace(DEFAULT, closed_bytes=0))
        await d.engine.start()
        first = await d.start("w")
        await d.start("other")
        d.journal.hold()
        ends = [asyncio.create_task(_terminate(d, workflow_id)) for workflow_id in ("w", "other")]
        await asyncio.sleep(0)
        closed = d.engine.runs._closed
        assert first in closed and len(closed) == 2
        d.journal.release()
        await asyncio.gather(*ends)
        await d.start("last")
        await _terminate(d, "last")
        assert first not in closed and len(closed) == 1
        await d.engine.stop()

    asyncio.run(main())


async def _terminate(d: Driver, workflow_id: str) -> None:
    request = TerminateWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id = workflow_id
    await d.call("TerminateWorkflowExecution", request)


def test_what_is_read_meanwhile_is_not_taken_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one caller waits for the file, another has the run back, changes it, and it is parked again."""

    async def main() -> None:
        d = Driver(limits=PARKING)
        await d.engine.start()
        run_id = await d.start()
        await d.step(start_timer())
        assert d.engine.runs.parked(run_id)
        read, go = d.journal.read_runs, asyncio.Event()

        async def slow(run_ids: Sequence[str]) -> dict[str, RunRecords]:
            found = copy.deepcopy(await read(run_ids))
            await go.wait()
            return found

        monkeypatch.setattr(d.journal, "read_runs", slow)
        late = asyncio.create_task(d.engine.runs.get("default", "w", run_id))
        await asyncio.sleep(0)
        run = d.engine.runs.in_memory(run_id)
        assert run is not None
        turn = d.engine.turn(run)
        turn.add(WorkflowExecutionOptionsUpdatedEventAttributes(identity="me"))
        d.engine.commit(turn)
        count = len(run.ex.events)
        del run, turn
        assert d.engine.runs.parked(run_id)
        go.set()
        found = await late
        assert found is not None and len(found.ex.events) == count
        await d.engine.stop()

    asyncio.run(main())
