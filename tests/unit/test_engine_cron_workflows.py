"""Workflows with a cron schedule: the chain of their runs. TEMPORAL.md, section 11."""

from __future__ import annotations

from typing import Any

import pytest
from engine_driver import (
    Driver,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    in_engine,
    only,
    payload,
    start_child,
)
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import RetryPolicy, WorkflowExecution
from temporalio.api.enums.v1 import CommandType, ContinueAsNewInitiator
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration, from_duration
from perdure.testing.clock import NEW_YEAR_2026

CRON = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
RETRY = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY


def started(d: Driver, workflow_id: str = "w") -> WorkflowExecutionStartedEventAttributes:
    return d.run(workflow_id).ex.started


@in_engine
async def test_the_first_task_waits_for_the_schedule(d: Driver) -> None:
    await d.start(cron_schedule="30 * * * *")
    assert started(d).initiator == CRON
    assert from_duration(started(d).first_workflow_task_backoff) == 1800 * SECOND
    await d.workflow_task()
    assert d.clock.now() == NEW_YEAR_2026 + 1800 * SECOND


@in_engine
async def test_a_completed_run_is_followed_by_one_that_knows_its_result(d: Driver) -> None:
    first = await d.start(cron_schedule="@every 1h", input=payload("in"))
    await d.step(complete_workflow("one"))
    closed = only(await d.history(run_id=first), "WorkflowExecutionCompleted")
    follower = d.run().ex
    assert (
        closed.workflow_execution_completed_event_attributes.new_execution_run_id == follower.run_id != first
    )
    assert follower.started.initiator == CRON
    assert follower.started.continued_execution_run_id == follower.started.first_execution_run_id == first
    assert follower.started.last_completion_result == payload("one")
    assert follower.started.input == payload("in")
    assert from_duration(follower.started.first_workflow_task_backoff) == 3600 * SECOND


@in_engine
async def test_a_failed_run_hands_on_the_failure_and_the_last_result(d: Driver) -> None:
    await d.start(cron_schedule="@every 1h")
    await d.step(complete_workflow("one"))
    await d.step(fail_workflow())
    assert started(d).last_completion_result == payload("one")
    assert started(d).continued_failure.message == "boom"
    await d.step(complete_workflow("three"))
    assert started(d).last_completion_result == payload("three")
    assert not started(d).HasField("continued_failure")


@in_engine
async def test_retries_come_first(d: Driver) -> None:
    await d.start(cron_schedule="@every 1h", retry_policy=RetryPolicy(maximum_attempts=2))
    await d.step(fail_workflow())
    assert (started(d).initiator, started(d).attempt) == (RETRY, 2)
    await d.step(fail_workflow())
    assert (started(d).initiator, started(d).attempt) == (CRON, 1)


@in_engine
async def test_a_run_timeout_is_followed_by_the_next_run_and_an_execution_timeout_is_not(d: Driver) -> None:
    timeouts = {"workflow_run_timeout": 60, "workflow_execution_timeout": 5500}
    first = await d.start(
        cron_schedule="@every 1h", **{name: duration(s * SECOND) for name, s in timeouts.items()}
    )
    await d.workflow_task()
    while d.run().ex.run_id == first:
        await d.run().change()
    assert started(d).continued_failure.HasField("timeout_failure_info")
    run = d.run()
    while run.ex.open:
        await run.change()
    assert d.clock.now() == NEW_YEAR_2026 + 5500 * SECOND
    assert not run.ex.new_run_id


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_the_chain_ends_when_it_is_told_to(how: str) -> None:
    @in_engine
    async def test(d: Driver) -> None:
        await d.start(cron_schedule="@every 1h")
        execution = WorkflowExecution(workflow_id="w")
        run = d.run()
        if how == "cancel":
            request: Any = RequestCancelWorkflowExecutionRequest(
                namespace="default", workflow_execution=execution
            )
            await d.call("RequestCancelWorkflowExecution", request)
            canceled = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
            canceled.cancel_workflow_execution_command_attributes.SetInParent()
            await d.step(canceled)
            assert d.clock.now() == NEW_YEAR_2026, "the request is heard of before the first run is due"
        else:
            request = TerminateWorkflowExecutionRequest(namespace="default", workflow_execution=execution)
            await d.call("TerminateWorkflowExecution", request)
        assert not run.ex.open and not run.ex.new_run_id

    test()


@in_engine
async def test_continue_as_new_leaves_the_schedule_unless_it_names_one(d: Driver) -> None:
    await d.start(cron_schedule="@every 1h")
    named = continue_as_new()
    named.continue_as_new_workflow_execution_command_attributes.cron_schedule = "@every 2h"
    await d.step(named)
    assert started(d).cron_schedule == "@every 2h"
    await d.step(continue_as_new())
    assert started(d).cron_schedule == ""
    run = d.run()
    await d.step(complete_workflow())
    assert not run.ex.open and not run.ex.new_run_id


@in_engine
async def test_a_child_may_have_a_schedule(d: Driver) -> None:
    command = start_child()
    command.start_child_workflow_execution_command_attributes.cron_schedule = "@every 1h"
    await d.start()
    await d.step(command)
    assert started(d, "child").initiator == CRON
    task = await d.workflow_task("children")
    await d.complete(task, complete_workflow())
    assert started(d, "child").initiator == CRON
    assert "ChildWorkflowExecutionCompleted" not in await d.names()


@in_engine
async def test_a_child_with_a_bad_schedule_fails_the_task(d: Driver) -> None:
    command = start_child()
    command.start_child_workflow_execution_command_attributes.cron_schedule = "nope"
    await d.start()
    with pytest.raises(ServiceError, match="invalid CronSchedule on StartChildWorkflowExecutionCommand"):
        await d.step(command)


@in_engine
async def test_a_signal_with_start_ends_the_wait(d: Driver) -> None:
    request = SignalWithStartWorkflowExecutionRequest(
        namespace="default", workflow_id="w", signal_name="go", cron_schedule="@every 1h"
    )
    request.workflow_type.name, request.task_queue.name = "Flow", "queue"
    await d.call("SignalWithStartWorkflowExecution", request)
    assert d.run().ex.task is None
    await d.call("SignalWithStartWorkflowExecution", request)
    await d.workflow_task()
    assert d.clock.now() == NEW_YEAR_2026


@in_engine
async def test_what_missed_its_time_is_left_out(d: Driver) -> None:
    await d.start(cron_schedule="@every 1h")
    task = await d.workflow_task()
    d.clock.advance(5 * SECOND)
    await d.complete(task, complete_workflow())
    assert from_duration(started(d).first_workflow_task_backoff) == 3595 * SECOND


@in_engine
async def test_the_wait_goes_on_after_a_crash(d: Driver) -> None:
    await d.start(cron_schedule="@every 1h")
    await d.step(complete_workflow())
    after = await d.crash()
    await after.workflow_task()
    assert after.clock.now() == NEW_YEAR_2026 + 7200 * SECOND
    await after.engine.stop()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"cron_schedule": "* *"}, "invalid CronSchedule."),
        (
            {"cron_schedule": "@hourly", "workflow_start_delay": duration(SECOND)},
            "CronSchedule and WorkflowStartDelay may not be used together.",
        ),
    ],
)
def test_a_bad_schedule_is_refused(change: dict[str, Any], said: str) -> None:
    @in_engine
    async def test(d: Driver) -> None:
        with pytest.raises(ServiceError) as refused:
            await d.start(**change)
        assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, said)

    test()
