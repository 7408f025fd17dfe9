"""Workflow tasks, the buffer, stickiness, timers. TEMPORAL.md, sections 6, 7 and 9."""

from __future__ import annotations

import asyncio

import pytest
from engine_driver import (
    QUEUE,
    Driver,
    cancel_timer,
    complete_workflow,
    in_engine,
    name,
    only,
    schedule_activity,
    start_timer,
)
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from temporalio.api.workflowservice.v1 import (
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    ShutdownWorkerRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND
from perdure.engine.records import Definition


async def fail(d: Driver, token: bytes) -> None:
    await d.call("RespondWorkflowTaskFailed", RespondWorkflowTaskFailedRequest(task_token=token))


@in_engine
async def test_only_the_first_failure_is_in_history_and_the_attempt_that_succeeds(d: Driver) -> None:
    await d.start()
    for attempt in (1, 2, 3):
        task = await d.workflow_task()
        assert task.attempt == attempt
        await fail(d, task.task_token)
    task = await d.workflow_task()
    assert [name(e) for e in task.history.events][-3:] == [
        "WorkflowTaskFailed",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert task.started_event_id == task.history.events[-1].event_id
    await d.complete(task, complete_workflow())
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]


@in_engine
async def test_an_event_before_a_later_attempt_starts_makes_it_a_first_one_again(d: Driver) -> None:
    await d.start()
    await fail(d, (await d.workflow_task()).task_token)
    await d.signal()
    task = await d.workflow_task()
    assert task.attempt == 1
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]


@in_engine
async def test_an_unanswered_task_times_out_and_its_answer_is_refused(d: Driver) -> None:
    await d.start()
    stale = await d.workflow_task()
    begun = d.clock.now()
    assert (await d.workflow_task()).attempt == 2
    assert d.clock.now() - begun == 10 * SECOND
    with pytest.raises(ServiceError, match="Workflow task not found") as refused:
        await d.complete(stale)
    assert refused.value.code == Code.NOT_FOUND


@in_engine
async def test_a_task_lost_with_its_process_is_no_failure_of_the_workflow(d: Driver) -> None:
    """Kernels are killed; a run that happened to be thinking then must not look as if its code were broken."""
    await d.start()
    for number in range(4):
        process = f"perdure-1-{number:08x}@elsewhere"
        lease = d.engine.processes.attend(process, True)
        d.engine.declared(process, [Definition("workflow", "Flow", "", "m", "Flow", "")])
        assert (await d.workflow_task(identity=process)).attempt == 1
        d.engine.leave(lease)
    task = d.run().ex.task
    assert task is not None and (task.attempt, d.run().ex.task_failures) == (1, 0)
    assert (await d.names())[2:5] == ["WorkflowTaskStarted", "WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    survivor = await d.crash()
    assert survivor.run().ex.task_failures == 0
    assert (await survivor.workflow_task()).attempt == 1


@in_engine
async def test_a_failing_task_lost_with_its_process_keeps_its_attempt(d: Driver) -> None:
    await d.start()
    await fail(d, (await d.workflow_task()).task_token)
    process = "perdure-1-00000000@elsewhere"
    lease = d.engine.processes.attend(process, True)
    d.engine.declared(process, [Definition("workflow", "Flow", "", "m", "Flow", "")])
    assert (await d.workflow_task(identity=process)).attempt == 2
    d.engine.leave(lease)
    assert d.run().ex.task_failures == 1
    assert (await d.workflow_task()).attempt == 2


@in_engine
async def test_signals_during_a_task_are_buffered_and_flushed_after_its_commands(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    await d.signal("a")
    await d.signal("b")
    assert "WorkflowExecutionSignaled" not in await d.names()
    await d.complete(task, start_timer())
    assert (await d.names())[3:] == [
        "WorkflowTaskCompleted",
        "TimerStarted",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]


@in_engine
async def test_a_buffered_signal_survives_a_crash_of_the_engine(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    await d.signal("a", request_id="once")
    after = await d.crash()
    await after.signal("a", request_id="once")
    await after.complete(task)
    assert (await after.names()).count("WorkflowExecutionSignaled") == 1
    await after.engine.stop()


@in_engine
async def test_a_workflow_cannot_close_over_an_unhandled_signal(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    await d.signal()
    with pytest.raises(ServiceError, match="UnhandledCommand"):
        await d.complete(task, complete_workflow())
    failed = only(await d.history(), "WorkflowTaskFailed").workflow_task_failed_event_attributes
    assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    await d.step(complete_workflow())
    assert (await d.names())[-1] == "WorkflowExecutionCompleted"


@in_engine
async def test_a_bad_command_fails_the_task_and_leaves_no_other_event(d: Driver) -> None:
    await d.start()
    with pytest.raises(ServiceError, match="BadScheduleActivityAttributes") as refused:
        await d.complete(await d.workflow_task(), start_timer(), schedule_activity(start_to_close=0))
    assert refused.value.code == Code.INVALID_ARGUMENT
    assert (await d.names())[3:] == ["WorkflowTaskFailed"]


@in_engine
async def test_a_duplicate_activity_id_is_found_within_one_completion(d: Driver) -> None:
    await d.start()
    with pytest.raises(ServiceError, match="ScheduleActivityDuplicateId"):
        await d.complete(await d.workflow_task(), schedule_activity("1"), schedule_activity("1"))


@in_engine
async def test_a_closing_command_must_be_last(d: Driver) -> None:
    await d.start()
    with pytest.raises(ServiceError, match="must be the last"):
        await d.complete(await d.workflow_task(), complete_workflow(), start_timer())


@in_engine
async def test_due_timers_fire_in_order_of_time(d: Driver) -> None:
    await d.start()
    await d.step(start_timer("late", 60), start_timer("early", 30))
    await d.step()
    await d.workflow_task()
    fired = [e.timer_fired_event_attributes.timer_id for e in await d.history() if name(e) == "TimerFired"]
    assert fired == ["early", "late"]


@in_engine
async def test_cancelling_a_timer_takes_back_its_buffered_firing(d: Driver) -> None:
    await d.start()
    await d.step(start_timer("1", 5))
    await d.signal()
    task = await d.workflow_task()
    with d.clock.held():
        d.clock.advance(6 * SECOND)
        await d.signal()  # the timers get their turn before the reply
        while not any(name(b.event) == "TimerFired" for b in d.run().ex.buffer):
            await d.run().change()
        await d.complete(task, cancel_timer())
    names = await d.names()
    assert "TimerFired" not in names
    after = await d.crash()
    assert not after.run().ex.buffer
    await after.engine.stop()


@in_engine
async def test_a_sticky_task_carries_only_new_events(d: Driver) -> None:
    await d.start()
    waiting = asyncio.create_task(d.workflow_task("sticky"))
    await asyncio.sleep(0)  # it polls
    await d.complete(await d.workflow_task(), sticky="sticky")
    await d.signal()
    task = await waiting
    assert [name(e) for e in task.history.events] == [
        "WorkflowTaskCompleted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]


@in_engine
async def test_a_sticky_queue_without_pollers_is_passed_over_without_an_event(d: Driver) -> None:
    await d.start()
    await d.complete(await d.workflow_task(), sticky="nobody")
    await d.signal()
    task = await d.workflow_task()
    assert task.history.events[0].event_id == 1
    assert "WorkflowTaskTimedOut" not in await d.names()


@in_engine
async def test_a_task_lying_in_a_sticky_queue_moves_when_its_worker_shuts_down(d: Driver) -> None:
    await d.start()
    d.has_polled("sticky")
    with d.clock.held():
        await d.complete(await d.workflow_task(), sticky="sticky")
        await d.signal()
        await d.call("ShutdownWorker", ShutdownWorkerRequest(namespace="default", sticky_task_queue="sticky"))
        task = await d.workflow_task(QUEUE)
    assert task.history.events[0].event_id == 1


@in_engine
async def test_a_task_that_timed_out_after_it_left_a_sticky_queue_is_there_after_a_crash(d: Driver) -> None:
    """No event tells that a task was moved, so recovery must not conclude from its queue whether another is owed."""
    await d.start()
    d.has_polled("sticky")
    await d.complete(await d.workflow_task(), sticky="sticky")
    with d.clock.held():
        await d.signal()
        await d.call("ShutdownWorker", ShutdownWorkerRequest(namespace="default", sticky_task_queue="sticky"))
        await d.workflow_task(QUEUE)
    assert (await d.workflow_task(QUEUE)).attempt == 2  # the first one has timed out
    survivor = await d.crash()
    assert (await survivor.workflow_task(QUEUE)).history.events[-3].event_id == len(await d.names())


@in_engine
async def test_a_heartbeating_task_gets_the_next_one_with_the_answer(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    request = RespondWorkflowTaskCompletedRequest(
        task_token=task.task_token, force_create_new_workflow_task=True, return_new_workflow_task=True
    )
    response = await d.call("RespondWorkflowTaskCompleted", request)
    assert response.workflow_task.started_event_id == 6
    assert response.workflow_task.previous_started_event_id == 3


@in_engine
async def test_markers_memo_and_search_attributes_are_kept(d: Driver) -> None:
    await d.start()
    marker = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    marker.record_marker_command_attributes.marker_name = "patch"
    memo = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    memo.modify_workflow_properties_command_attributes.upserted_memo.fields["a"].data = b"1"
    await d.step(marker, memo)
    assert (await d.names())[-2:] == ["MarkerRecorded", "WorkflowPropertiesModified"]
    assert d.run().ex.memo.fields["a"].data == b"1"
    after = await d.crash()
    assert after.run().ex.memo.fields["a"].data == b"1"
    await after.engine.stop()
