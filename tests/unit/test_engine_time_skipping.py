"""Runs that skip time: each has its own clock, which jumps whenever it only waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_driver import (
    Driver,
    application_failure,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    in_engine,
    name,
    only,
    schedule_activity,
    start_child,
    start_timer,
)
from temporalio.api.common.v1 import FastForwardConfig, RetryPolicy, TimeSkippingConfig, WorkflowExecution
from temporalio.api.enums.v1 import FastForwardPollingResult as Result
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    PollWorkflowExecutionTimeSkippingRequest,
    RespondWorkflowTaskCompletedRequest,
    UpdateWorkflowExecutionOptionsRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration, from_duration, from_timestamp
from perdure.engine.recovery import recover

DAY = 86_400
SKIPPED = "WorkflowExecutionTimeSkippingTransitioned"


def config(**fields: Any) -> TimeSkippingConfig:
    return TimeSkippingConfig(enabled=True, **fields)


def forward(days: int, id: str = "f") -> TimeSkippingConfig:
    return config(fast_forward_config=FastForwardConfig(id=id, duration=duration(days * DAY * SECOND)))


def seconds(event: HistoryEvent, driver: Driver) -> int:
    """When, counted from the (real) time now: real time stands still in these tests."""
    return (from_timestamp(event.event_time) - driver.clock.now()) // SECOND


def target(event: HistoryEvent, driver: Driver) -> int:
    attributes = event.workflow_execution_time_skipping_transitioned_event_attributes
    return (from_timestamp(attributes.target_time) - driver.clock.now()) // SECOND


async def settle() -> None:
    """Lets what is due ring."""
    for _ in range(10):
        await asyncio.sleep(0)


async def update(driver: Driver, options: TimeSkippingConfig | None, workflow_id: str = "w") -> Any:
    request = UpdateWorkflowExecutionOptionsRequest(namespace="default")
    request.workflow_execution.workflow_id = workflow_id
    request.update_mask.paths.append("time_skipping_config")
    request.workflow_execution_options.SetInParent()
    if options is not None:
        request.workflow_execution_options.time_skipping_config.CopyFrom(options)
    return await driver.call("UpdateWorkflowExecutionOptions", request)


async def poll(driver: Driver, id: str = "f", workflow_id: str = "w") -> Any:
    request = PollWorkflowExecutionTimeSkippingRequest(namespace="default", fast_forward_id=id)
    request.workflow_execution.workflow_id = workflow_id
    return await driver.call("PollWorkflowExecutionTimeSkipping", request)


async def info(driver: Driver, workflow_id: str = "w") -> Any:
    request = DescribeWorkflowExecutionRequest(
        namespace="default", execution=WorkflowExecution(workflow_id=workflow_id)
    )
    response = await driver.call("DescribeWorkflowExecution", request)
    return response.workflow_extended_info.time_skipping_info


@in_engine
async def test_a_run_that_only_waits_jumps_to_its_timer(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config())
        await driver.step(start_timer("1", 30 * DAY))
        await driver.step(complete_workflow())
        events = await driver.history()
        assert [name(event) for event in events[4:7]] == ["TimerStarted", SKIPPED, "TimerFired"]
        assert events[5].worker_may_ignore
        assert (seconds(events[5], driver), target(events[5], driver)) == (0, 30 * DAY)
        assert {seconds(event, driver) for event in events[6:]} == {30 * DAY}
        assert driver.clock.jumps == 0


@in_engine
async def test_without_a_config_nothing_jumps(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start()
        await driver.step(start_timer("1", 30 * DAY))
        await settle()
        assert await driver.names() == (await driver.names())[:5]
        assert not (await info(driver)).HasField("current_time")


@in_engine
async def test_time_stands_still_while_an_activity_may_run_but_not_in_its_back_off(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config())
        policy = RetryPolicy(initial_interval=duration(DAY * SECOND))
        await driver.step(schedule_activity("a", policy=policy), start_timer("late", 5 * DAY))
        assert SKIPPED not in await driver.names()
        await driver.fail_activity(await driver.activity_task(), application_failure())
        assert target(only(await driver.history(), SKIPPED), driver) == DAY
        second = await driver.activity_task()
        assert second.attempt == 2
        await driver.complete_activity(second)
        await driver.step()
        assert target((await driver.history())[-1], driver) == 5 * DAY


@in_engine
async def test_a_delayed_start_is_skipped_and_so_is_the_wait_for_a_timeout(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(
            time_skipping_config=config(),
            workflow_start_delay=duration(2 * DAY * SECOND),
            workflow_run_timeout=duration(3 * DAY * SECOND),
        )
        assert (await driver.names())[1] == SKIPPED
        await driver.step()
        await settle()
        events = await driver.history(run_id="")
        assert [name(event) for event in events[-2:]] == [SKIPPED, "WorkflowExecutionTimedOut"]
        assert seconds(events[-1], driver) == 5 * DAY


@in_engine
async def test_the_next_run_goes_on_where_the_clock_of_the_last_one_was(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config())
        await driver.step(start_timer("1", DAY))
        await driver.step(continue_as_new())
        await driver.step(start_timer("1", DAY))
        events = await driver.history()
        inherited = events[0].workflow_execution_started_event_attributes.time_skipping_state_propagation
        assert from_duration(inherited.initial_skipped_duration) == DAY * SECOND
        assert inherited.initial_skip_count == 1
        assert seconds(events[0], driver) == DAY
        assert target(only(events, SKIPPED), driver) == 2 * DAY


@in_engine
async def test_a_retry_skips_its_back_off(driver: Driver) -> None:
    with driver.clock.held():
        policy = RetryPolicy(initial_interval=duration(DAY * SECOND))
        await driver.start(time_skipping_config=config(), retry_policy=policy)
        await driver.step(fail_workflow())
        await driver.step(complete_workflow())
        assert (await driver.names())[:3] == ["WorkflowExecutionStarted", SKIPPED, "WorkflowTaskScheduled"]


@in_engine
async def test_a_child_shares_the_clock_and_its_parent_waits_for_it(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config())
        await driver.step(start_timer("1", DAY))
        await driver.step(start_child(), start_timer("2", 90 * DAY))
        child = await driver.workflow_task("children")
        await driver.complete(child, start_timer("1", 7 * DAY))
        await driver.step()  # the parent hears that its child has started
        assert target(only(await driver.history("child"), SKIPPED), driver) == 8 * DAY
        assert (await driver.names()).count(SKIPPED) == 1
        child = await driver.workflow_task("children")
        await driver.complete(child, complete_workflow())
        await driver.step()
        assert (await driver.names())[-1] == SKIPPED


@in_engine
async def test_a_child_does_not_skip_if_the_config_says_so_but_has_its_parents_time(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config(disable_propagation=True))
        await driver.step(start_timer("1", DAY))
        await driver.step(start_child())
        child = await driver.workflow_task("children")
        await driver.complete(child, start_timer("1", DAY))
        events = await driver.history("child")
        assert seconds(events[0], driver) == DAY
        assert SKIPPED not in [name(event) for event in events]
        await driver.crash()


@in_engine
async def test_a_session_has_only_so_many_skips(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config(max_session_skip_count=2))
        for _ in range(3):
            await driver.step(start_timer("1", DAY))
        assert (await driver.names()).count(SKIPPED) == 2
        assert not (await info(driver)).effective_config.enabled
        await update(driver, config())  # a new session
        assert (await driver.names()).count(SKIPPED) == 3
        assert (await info(driver)).effective_config.max_session_skip_count == 200


@in_engine
async def test_a_fast_forward_goes_so_far_and_ends(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start()
        await driver.step(start_timer("1", 10 * DAY))
        await update(driver, forward(3))
        assert (await poll(driver)).fast_forward_polling_result == (
            Result.FAST_FORWARD_POLLING_RESULT_FAST_FORWARD_COMPLETED
        )
        events = await driver.history()
        assert [name(event) for event in events[-2:]] == ["WorkflowExecutionOptionsUpdated", SKIPPED]
        attributes = events[-1].workflow_execution_time_skipping_transitioned_event_attributes
        assert attributes.disabled_after_fast_forward
        now = await info(driver)
        assert from_timestamp(now.current_time) == driver.clock.now() + 3 * DAY * SECOND
        assert now.fast_forward_info.has_completed and not now.effective_config.enabled


@in_engine
async def test_a_fast_forward_ends_in_time_though_something_is_in_flight(driver: Driver) -> None:
    await driver.start()
    with driver.clock.held():
        task = await driver.workflow_task()
        await update(driver, forward(1))  # waits in the buffer, and counts
        assert not (await info(driver)).fast_forward_info.has_completed
    driver.clock.advance(DAY * SECOND)
    await settle()
    with pytest.raises(ServiceError):  # its time was over long ago
        await driver.complete(task)
    assert (await poll(driver)).fast_forward_info.has_completed
    assert SKIPPED in await driver.names()


@in_engine
async def test_what_waits_in_the_buffer_counts_once(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start()
        task = await driver.workflow_task()
        await update(driver, forward(1))
        await update(driver, forward(2, "other"))
        driver = await driver.crash()
        assert (await poll(driver)).failed_reason.startswith("the requested fast_forward_id does not match")
        await driver.complete(task)
        await driver.step()
        assert (await poll(driver, "other")).fast_forward_info.has_completed
        assert (await driver.names()).count(SKIPPED) == 1
        await driver.engine.stop()


@in_engine
async def test_whoever_waits_for_a_fast_forward_learns_how_it_came_out(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start()

        async def outcome(change: TimeSkippingConfig | None) -> str:
            await update(driver, forward(2))
            waiting = asyncio.create_task(poll(driver))
            await settle()
            assert not waiting.done()
            await update(driver, change)
            response = await waiting
            assert (
                response.fast_forward_polling_result == Result.FAST_FORWARD_POLLING_RESULT_FAST_FORWARD_FAILED
            )
            return str(response.failed_reason)

        assert "does not match" in await outcome(forward(2, "other"))
        assert await outcome(forward(3)) == "the fast-forward was reset"
        assert "does not match" in await outcome(None)
        with pytest.raises(ServiceError, match="workflow not found") as error:
            await poll(driver, workflow_id="nobody")
        assert error.value.code is Code.NOT_FOUND


@in_engine
async def test_a_fast_forward_goes_on_in_the_next_run(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start()
        await driver.step(start_timer("1", DAY))
        await update(driver, forward(2))
        waiting = asyncio.create_task(poll(driver))
        await driver.step(continue_as_new())
        await driver.step()
        assert (
            await waiting
        ).fast_forward_polling_result == Result.FAST_FORWARD_POLLING_RESULT_FAST_FORWARD_COMPLETED
        events = await driver.history()
        assert target(only(events, SKIPPED), driver) == 2 * DAY


@in_engine
async def test_a_config_that_makes_no_sense_is_refused(driver: Driver) -> None:
    for bad, said in (
        (config(fast_forward_config=FastForwardConfig(id="f")), "duration must be positive"),
        (
            config(fast_forward_config=FastForwardConfig(duration=duration(SECOND))),
            "fast_forward_id must be set",
        ),
        (
            TimeSkippingConfig(fast_forward_config=FastForwardConfig(id="f", duration=duration(SECOND))),
            "cannot set fast_forward when enabled is false",
        ),
    ):
        with pytest.raises(ServiceError, match=said) as error:
            await driver.start(time_skipping_config=bad)
        assert error.value.code is Code.INVALID_ARGUMENT


@in_engine
async def test_the_same_config_again_leaves_no_event(driver: Driver) -> None:
    await driver.start()
    await update(driver, config())
    length = len(await driver.history())
    await update(driver, config())
    assert len(await driver.history()) == length


@in_engine
async def test_recovery_finds_the_same_clock(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start(time_skipping_config=config(max_session_skip_count=1))
        await driver.step(start_timer("1", DAY), start_timer("2", 3 * DAY))
        run = driver.run()
        assert recover(driver.journal.runs[run.ex.run_id]).skipping == run.ex.skipping
        task = await driver.workflow_task()
        successor = await driver.crash()
        request = RespondWorkflowTaskCompletedRequest(namespace="default", task_token=task.task_token)
        await successor.call("RespondWorkflowTaskCompleted", request)
        assert {seconds(event, successor) for event in (await successor.history())[7:]} == {DAY}
        successor.clock.advance(2 * DAY * SECOND)  # not enabled any more: the second timer takes its time
        await settle()
        assert (await successor.names())[-2] == "TimerFired"
        await successor.engine.stop()
