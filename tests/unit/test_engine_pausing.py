"""Pausing whole runs: what is kept back, what still comes in, and what resuming hands out. TEMPORAL.md, section 18."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from engine_driver import (
    Driver,
    complete_workflow,
    in_engine,
    name,
    schedule_activity,
    start_timer,
)
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType, WorkflowExecutionStatus, WorkflowTaskFailedCause
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
    PauseWorkflowExecutionRequest,
    QueryWorkflowRequest,
    UnpauseWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND

PAUSED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED


async def pause(d: Driver, request_id: str = "", reason: str = "why") -> None:
    request = PauseWorkflowExecutionRequest(
        namespace="default", workflow_id="w", request_id=request_id, reason=reason, identity="me"
    )
    await d.call("PauseWorkflowExecution", request)


async def resume(d: Driver) -> None:
    await d.call(
        "UnpauseWorkflowExecution", UnpauseWorkflowExecutionRequest(namespace="default", workflow_id="w")
    )


async def describe(d: Driver) -> Any:
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id = "w"
    return await d.call("DescribeWorkflowExecution", request)


async def nothing_offered(d: Driver) -> bool:
    """Whether a worker that polls now goes away empty-handed."""
    limits = d.engine.limits
    d.engine.limits = replace(limits, worker_poll=SECOND // 50)
    tasks = await d.workflow_task(), await d.activity_task()
    d.engine.limits = limits
    return not any(task.task_token for task in tasks)


@in_engine
async def test_a_task_that_nobody_took_fails_and_comes_again(d: Driver) -> None:
    await d.start()
    await pause(d)
    history = await d.history()
    failed = history[2].workflow_task_failed_event_attributes
    assert failed.cause == (
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED
    )
    assert d.run().ex.task is None
    await resume(d)
    assert (await d.names())[3:] == [
        "WorkflowExecutionPaused",
        "WorkflowExecutionUnpaused",
        "WorkflowTaskScheduled",
    ]
    assert (await d.workflow_task()).attempt == 1


@in_engine
async def test_describe_and_lists_say_that_a_run_is_paused(d: Driver) -> None:
    await d.start()
    await pause(d)
    described = await describe(d)
    info = described.workflow_execution_info
    assert info.status == PAUSED
    entries = json.loads(info.search_attributes.indexed_fields["TemporalPauseInfo"].data)
    assert entries == ["Workflow:w", "Reason:why"]
    assert described.workflow_extended_info.pause_info.identity == "me"
    listed = await d.call("ListWorkflowExecutions", ListWorkflowExecutionsRequest(namespace="default"))
    assert [row.status for row in listed.executions] == [PAUSED]
    await resume(d)
    described = await describe(d)
    assert "TemporalPauseInfo" not in described.workflow_execution_info.search_attributes.indexed_fields
    assert not described.workflow_extended_info.HasField("pause_info")


@in_engine
async def test_signals_and_timers_are_kept(d: Driver) -> None:
    await d.start()
    await d.step(start_timer("1", 5))
    await pause(d)
    await d.signal()
    d.clock.advance(6 * SECOND)
    assert await nothing_offered(d)
    assert "TimerFired" in await d.names()
    await resume(d)
    task = await d.workflow_task()
    assert task.started_event_id == len(task.history.events)


@in_engine
async def test_a_started_task_may_finish(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    await pause(d)
    assert d.run().ex.status == PAUSED
    with pytest.raises(ServiceError, match="force create new workflow task is not allowed"):
        await d.complete(task, force_create_new_workflow_task=True)
    await d.complete(task, start_timer())
    assert (await d.names())[3:] == ["WorkflowTaskCompleted", "TimerStarted", "WorkflowExecutionPaused"]
    assert d.run().ex.task is None


@in_engine
async def test_activities_are_kept_back(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity("1"), schedule_activity("2"))
    first = await d.activity_task()
    await pause(d)
    await d.fail_activity(first)
    d.clock.advance(2 * SECOND)
    assert await nothing_offered(d)
    await resume(d)
    attempts = {(t.activity_id, t.attempt) for t in [await d.activity_task(), await d.activity_task()]}
    assert attempts == {("1", 2), ("2", 1)}


@in_engine
async def test_queries_and_updates_are_refused(d: Driver) -> None:
    await d.start()
    await pause(d)
    query = QueryWorkflowRequest(namespace="default", execution=WorkflowExecution(workflow_id="w"))
    query.query.query_type = "q"
    assert (await d.call("QueryWorkflow", query)).query_rejected.status == PAUSED
    update = UpdateWorkflowExecutionRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w")
    )
    update.request.meta.update_id, update.request.input.name = "u", "change"
    with pytest.raises(ServiceError, match="Workflow is paused") as refused:
        await d.call("UpdateWorkflowExecution", update)
    assert refused.value.code == Code.FAILED_PRECONDITION


@in_engine
async def test_pausing_twice_is_refused_but_for_the_same_request(d: Driver) -> None:
    await d.start()
    await pause(d, "r")
    await pause(d, "r")
    with pytest.raises(ServiceError, match="already paused"):
        await pause(d, "other")
    await resume(d)
    with pytest.raises(ServiceError, match="not paused"):
        await resume(d)


@in_engine
async def test_a_paused_run_is_recovered_paused(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await pause(d)
    d = await d.crash()
    assert d.run().ex.status == PAUSED
    assert await nothing_offered(d)
    await resume(d)
    await d.complete_activity(await d.activity_task())
    await d.step(complete_workflow())
    await d.engine.stop()


@in_engine
async def test_who_asks_for_the_closing_event_of_a_paused_run_sees_the_pause(d: Driver) -> None:
    """Temporal's command line describes a paused run with it."""
    await d.start()
    last = GetWorkflowExecutionHistoryRequest(
        namespace="default",
        execution=WorkflowExecution(workflow_id="w"),
        history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
    )
    assert not (await d.call("GetWorkflowExecutionHistory", last)).history.events
    await pause(d)
    answer = await d.call("GetWorkflowExecutionHistory", last)
    assert [name(event) for event in answer.history.events] == ["WorkflowExecutionPaused"]
