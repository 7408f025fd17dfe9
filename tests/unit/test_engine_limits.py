"""Limits: what fails a workflow task, what ends a run, what is refused, and what people are told. TEMPORAL.md, section 3."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from engine_driver import (
    Driver,
    cancel_timer,
    complete_workflow,
    in_engine,
    name,
    payload,
    schedule_activity,
    start_child,
    start_timer,
)
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import CommandType, SuggestContinueAsNewReason, WorkflowTaskFailedCause
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    PollWorkflowTaskQueueResponse,
    QueryWorkflowRequest,
    RespondWorkflowTaskFailedRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND

_Reason = SuggestContinueAsNewReason


def limited(d: Driver, **limits: Any) -> None:
    d.engine.limits = replace(d.engine.limits, **limits)


def signal_external() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    command.signal_external_workflow_execution_command_attributes.execution.workflow_id = "other"
    command.signal_external_workflow_execution_command_attributes.signal_name = "go"
    return command


def marker(size: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    command.record_marker_command_attributes.marker_name = "m"
    command.record_marker_command_attributes.details["a"].CopyFrom(payload("x" * size))
    return command


def memo(size: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    fields = command.modify_workflow_properties_command_attributes.upserted_memo.fields
    fields["a"].CopyFrom(payload("x" * size).payloads[0])
    return command


async def fail_task(d: Driver, task: PollWorkflowTaskQueueResponse) -> None:
    request = RespondWorkflowTaskFailedRequest(
        namespace="default",
        task_token=task.task_token,
        cause=WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_BINARY,
    )
    request.failure.application_failure_info.SetInParent()
    await d.call("RespondWorkflowTaskFailed", request)


@pytest.mark.parametrize(
    ("limit", "commands", "text"),
    [
        ("pending_activities", [schedule_activity("1"), schedule_activity("2")], "activities"),
        ("pending_children", [start_child("1"), start_child("2")], "child workflow executions"),
        ("pending_signals", [signal_external(), signal_external()], "signals to external workflows"),
    ],
)
def test_too_many_pending_things_fail_the_task(limit: str, commands: list[Command], text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        limited(d, **{limit: 1})
        await d.start()
        task = await d.workflow_task()
        with pytest.raises(ServiceError) as error:
            await d.complete(task, *commands)
        assert (
            f"the number of pending {text}, 1, has reached the per-workflow limit of 1" in error.value.message
        )
        assert (await d.names())[3] == "WorkflowTaskFailed"

    check()


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (marker(200), "BadRecordMarkerAttributes: RecordMarkerCommandAttributes.Details exceeds size limit."),
        (
            complete_workflow("x" * 200),
            "BadScheduleActivityAttributes: CompleteWorkflowExecutionCommandAttributes.Result exceeds size limit.",
        ),
        (
            memo(90),
            "BadModifyWorkflowPropertiesAttributes: ModifyWorkflowPropertiesCommandAttributes. Memo exceeds size limit.",
        ),
    ],
)
def test_too_large_payloads_end_the_run(command: Command, text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        limited(d, blob_error=150, memo_error=100)
        await d.start()
        task = await d.workflow_task()
        with pytest.raises(ServiceError) as error:
            await d.complete(task, command)
        assert error.value.message == text
        end = (await d.history())[-1].workflow_execution_terminated_event_attributes
        assert (end.reason, end.identity) == (text, "history-service")

    check()


@pytest.mark.parametrize(
    ("commands", "text"),
    [
        ([start_timer("x" * 1001)], "TimerId on StartTimerCommand exceeds length limit."),
        ([start_timer(), start_timer()], "add-timer-started-event, TimerID: 1"),
        ([cancel_timer()], "add-timer-canceled-event, TimerID: 1"),
        ([schedule_activity("x" * 1001)], "activityId exceeds length limit. Length=1001 Limit=1000"),
    ],
)
def test_ids_that_workers_may_not_use(commands: list[Command], text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        await d.start()
        task = await d.workflow_task()
        with pytest.raises(ServiceError) as error:
            await d.complete(task, *commands)
        assert text in error.value.message

    check()


@pytest.mark.parametrize("limits", [{"buffered_events": 2}, {"buffered_bytes": 80}])
def test_a_full_buffer_fails_the_started_task(limits: dict[str, int]) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        limited(d, **limits)
        await d.start()
        await d.workflow_task()
        for _ in range(3):
            await d.signal("x" * 20)
        failed = (await d.history())[3]
        assert name(failed) == "WorkflowTaskFailed"
        assert failed.workflow_task_failed_event_attributes.cause == (
            WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
        )
        assert (await d.names()).count("WorkflowExecutionSignaled") == 3

    check()


@in_engine
async def test_a_run_takes_so_many_signals(d: Driver) -> None:
    limited(d, signals=2)
    await d.start()
    await d.workflow_task()
    await d.signal()
    await d.signal()
    with pytest.raises(ServiceError, match="exceeded workflow execution limit for signal events") as error:
        await d.signal()
    assert error.value.code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"history_count_suggest": 8}, _Reason.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS),
        ({"history_size_suggest": 100}, _Reason.SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE),
        ({"updates_total": 0}, _Reason.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_UPDATES),
    ],
)
def test_long_histories_are_advised_to_continue_as_new(limits: dict[str, int], reason: int) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        limited(d, **limits)
        await d.start()
        await d.step(start_timer())
        await d.signal()
        task = await d.workflow_task()
        started = task.history.events[-1].workflow_task_started_event_attributes
        assert started.suggest_continue_as_new
        assert list(started.suggest_continue_as_new_reasons) == [reason]

    check()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"history_count_error": 6}, "Workflow history count exceeds limit."),
        ({"history_size_error": 600}, "Workflow history size exceeds limit."),
    ],
)
def test_too_long_histories_end(limits: dict[str, int], text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        limited(d, **limits)
        await d.start()
        await d.step(start_timer())
        with pytest.raises(ServiceError, match="workflow execution already completed"):
            for _ in range(20):
                await d.signal()
        end = (await d.history())[-1].workflow_execution_terminated_event_attributes
        assert end.reason == text

    check()


def test_long_histories_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        caplog.clear()
        limited(d, history_count_warn=4)
        await d.start()
        await d.step(start_timer())
        await d.signal()

    with caplog.at_level(logging.WARNING, "perdure.engine"):
        check()
    assert [record.message for record in caplog.records if "warn limit" in record.message][1:] == []


@in_engine
async def test_heartbeats_of_a_workflow_task_end_after_a_time(d: Driver) -> None:
    await d.start()
    with d.clock.held():
        for _ in range(2):
            await d.complete(await d.workflow_task(), force_create_new_workflow_task=True)
            d.clock.advance(20 * 60 * SECOND)
            # the task that a heartbeat makes waits for its worker, it does not time out
        task = await d.workflow_task()
        with pytest.raises(ServiceError, match="workflow task heartbeat timeout") as error:
            await d.complete(task, force_create_new_workflow_task=True)
    assert error.value.code == Code.NOT_FOUND
    assert "WorkflowTaskTimedOut" in await d.names()


@in_engine
async def test_a_task_that_keeps_failing_is_reported_and_refuses_queries(d: Driver) -> None:
    limited(d, reported_problems=3)
    await d.start()
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id = "w"

    async def reported() -> list[str] | None:
        described = await d.call("DescribeWorkflowExecution", request)
        fields = described.workflow_execution_info.search_attributes.indexed_fields
        return (
            json.loads(fields["TemporalReportedProblems"].data)
            if "TemporalReportedProblems" in fields
            else None
        )

    query = QueryWorkflowRequest(namespace="default", execution=WorkflowExecution(workflow_id="w"))
    query.query.query_type = "q"
    with d.clock.held():
        for _ in range(2):
            await fail_task(d, await d.workflow_task())
        assert await reported() is None
        with pytest.raises(ServiceError, match="Unable to query workflow") as error:
            await d.call("QueryWorkflow", query)
        assert error.value.code == Code.FAILED_PRECONDITION
        await fail_task(d, await d.workflow_task())
        assert await reported() == [
            "category=WorkflowTaskFailed",
            "cause=WorkflowTaskFailedCauseBadBinary",
        ]
        await d.step(start_timer())
        assert await reported() is None
