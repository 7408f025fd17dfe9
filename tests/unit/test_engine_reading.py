"""Histories, descriptions, lists, queries and updates, as callers see them. TEMPORAL.md, sections 7.4, 13, 14 and 16."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_driver import (
    Driver,
    complete_workflow,
    in_engine,
    name,
    payload,
    schedule_activity,
    start_timer,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkerVersionStamp
from temporalio.api.enums.v1 import (
    CommandType,
    HistoryEventFilterType,
    QueryRejectCondition,
    QueryResultType,
    UpdateWorkflowExecutionLifecycleStage,
)
from temporalio.api.errordetails.v1 import QueryFailedFailure, WorkflowNotReadyFailure
from temporalio.api.protocol.v1 import Message
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.update.v1 import Acceptance, Meta, Outcome, Rejection, Response
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryReverseRequest,
    ListWorkflowExecutionsRequest,
    QueryWorkflowRequest,
    RespondQueryTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration

_COMPLETED = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


def history_request(**fields: Any) -> GetWorkflowExecutionHistoryRequest:
    request = GetWorkflowExecutionHistoryRequest(namespace="default", **fields)
    request.execution.workflow_id = "w"
    return request


def query(**fields: Any) -> QueryWorkflowRequest:
    request = QueryWorkflowRequest(namespace="default", **fields)
    request.execution.workflow_id, request.query.query_type = "w", "total"
    return request


async def soon(coroutine: Any) -> asyncio.Task[Any]:
    """A call that is under way, and waits."""
    task = asyncio.create_task(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


@in_engine
async def test_pages_join_into_the_whole_history(d: Driver) -> None:
    await d.start()
    await d.step(*(start_timer(str(n)) for n in range(5)))
    whole = await d.history()
    pages, token = [], b""
    while True:
        request = history_request(maximum_page_size=3, next_page_token=token)
        response = await d.call("GetWorkflowExecutionHistory", request)
        pages.append(list(response.history.events))
        token = response.next_page_token
        if not token:
            break
    assert [event for page in pages for event in page] == whole
    reverse = GetWorkflowExecutionHistoryReverseRequest(namespace="default", maximum_page_size=4)
    reverse.execution.workflow_id = "w"
    first = await d.call("GetWorkflowExecutionHistoryReverse", reverse)
    reverse.next_page_token = first.next_page_token
    second = await d.call("GetWorkflowExecutionHistoryReverse", reverse)
    both = [*first.history.events, *second.history.events]
    assert both == list(reversed(whole))[: len(both)]


@in_engine
async def test_a_page_token_that_is_not_ours_is_refused(d: Driver) -> None:
    await d.start()
    with pytest.raises(ServiceError, match="NextPageToken") as refused:
        await d.call("GetWorkflowExecutionHistory", history_request(next_page_token=b"nonsense"))
    assert refused.value.code == Code.INVALID_ARGUMENT


@in_engine
async def test_a_long_poll_returns_with_the_next_event(d: Driver) -> None:
    await d.start()
    first = await d.call("GetWorkflowExecutionHistory", history_request(wait_new_event=True))
    waiting = await soon(
        d.call(
            "GetWorkflowExecutionHistory",
            history_request(wait_new_event=True, next_page_token=first.next_page_token),
        )
    )
    await d.signal()
    assert name((await waiting).history.events[0]) == "WorkflowExecutionSignaled"


@in_engine
async def test_the_close_event_is_waited_for(d: Driver) -> None:
    await d.start()
    close = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
    request = history_request(wait_new_event=True, history_event_filter_type=close)
    waiting = await soon(d.call("GetWorkflowExecutionHistory", request))
    await d.step(complete_workflow())
    response = await waiting
    assert [name(e) for e in response.history.events] == ["WorkflowExecutionCompleted"]
    assert not response.next_page_token


@in_engine
async def test_a_later_attempt_is_shown_to_workers_and_hidden_from_the_cli(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    await d.call("RespondWorkflowTaskFailed", RespondWorkflowTaskFailedRequest(task_token=task.task_token))
    shown = await d.engine.service.call(
        "GetWorkflowExecutionHistory", history_request(), {"client-name": "temporal-python"}
    )
    assert name(shown.history.events[-1]) == "WorkflowTaskScheduled"  # type: ignore[attr-defined]
    assert (await d.names())[-1] == "WorkflowTaskFailed"


@in_engine
async def test_describe_tells_of_a_retrying_activity(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await d.fail_activity(await d.activity_task())
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id = "w"
    [pending] = (await d.call("DescribeWorkflowExecution", request)).pending_activities
    assert (pending.attempt, pending.last_failure.message) == (2, "boom")
    assert pending.current_retry_interval.seconds == 1
    with pytest.raises(ServiceError, match="workflow not found for ID: other") as missing:
        request.execution.workflow_id = "other"
        await d.call("DescribeWorkflowExecution", request)
    assert missing.value.code == Code.NOT_FOUND


@in_engine
async def test_lists_and_counts(d: Driver) -> None:
    for workflow_id in ("a", "b", "c"):
        await d.start(workflow_id)
    await d.step(complete_workflow())
    listed = await d.call(
        "ListWorkflowExecutions", ListWorkflowExecutionsRequest(namespace="default", page_size=2)
    )
    rest = await d.call(
        "ListWorkflowExecutions",
        ListWorkflowExecutionsRequest(
            namespace="default", page_size=2, next_page_token=listed.next_page_token
        ),
    )
    ids = [info.execution.workflow_id for info in (*listed.executions, *rest.executions)]
    assert sorted(ids) == ["a", "b", "c"]
    closed = ListWorkflowExecutionsRequest(namespace="default", query="ExecutionStatus = 'Completed'")
    assert len((await d.call("ListWorkflowExecutions", closed)).executions) == 1
    counted = await d.call("CountWorkflowExecutions", CountWorkflowExecutionsRequest(namespace="default"))
    assert counted.count == 3
    with pytest.raises(ServiceError, match="invalid query") as refused:
        await d.call(
            "CountWorkflowExecutions", CountWorkflowExecutionsRequest(namespace="default", query="(")
        )
    assert refused.value.code == Code.INVALID_ARGUMENT


# --- queries


@in_engine
async def test_a_query_rides_on_the_pending_task(d: Driver) -> None:
    await d.start()
    asked = await soon(d.call("QueryWorkflow", query()))
    task = await d.workflow_task()
    [(query_id, question)] = task.queries.items()
    assert question.query_type == "total"
    answer = WorkflowQueryResult(result_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED, answer=payload("7"))
    await d.complete(task, query_results={query_id: answer})
    assert (await asked).query_result == payload("7")


@in_engine
async def test_a_run_at_rest_is_asked_directly_and_leaves_no_event(d: Driver) -> None:
    await d.start()
    await d.step(start_timer(seconds=3600))
    before = await d.names()
    with d.clock.held():
        asked = await soon(d.call("QueryWorkflow", query()))
        task = await d.workflow_task()
        assert task.query.query_type == "total" and task.history.events
        answer = RespondQueryTaskCompletedRequest(
            task_token=task.task_token,
            completed_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED,
            query_result=payload("7"),
        )
        await d.call("RespondQueryTaskCompleted", answer)
        assert (await asked).query_result == payload("7")
        assert await d.names() == before


@in_engine
async def test_a_query_whose_task_was_lost_rides_on_the_next(d: Driver) -> None:
    await d.start()
    asked = await soon(d.call("QueryWorkflow", query()))
    lost = await d.workflow_task()
    assert lost.queries
    again = await d.workflow_task()  # after the timeout
    [(query_id, _)] = again.queries.items()
    answer = WorkflowQueryResult(result_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED, answer=payload("7"))
    await d.complete(again, query_results={query_id: answer})
    assert (await asked).query_result == payload("7")


@in_engine
async def test_a_failed_query_carries_the_failure(d: Driver) -> None:
    await d.start()
    asked = await soon(d.call("QueryWorkflow", query()))
    task = await d.workflow_task()
    result = WorkflowQueryResult(
        result_type=QueryResultType.QUERY_RESULT_TYPE_FAILED, error_message="no such query"
    )
    await d.complete(task, query_results={next(iter(task.queries)): result})
    with pytest.raises(ServiceError, match="no such query") as failed:
        await asked
    assert failed.value.code == Code.INVALID_ARGUMENT
    assert isinstance(failed.value.detail, QueryFailedFailure)


@in_engine
async def test_queries_are_rejected_or_refused_where_temporal_does(d: Driver) -> None:
    await d.start()
    for _ in range(3):
        task = await d.workflow_task()
        await d.call(
            "RespondWorkflowTaskFailed", RespondWorkflowTaskFailedRequest(task_token=task.task_token)
        )
    with pytest.raises(ServiceError) as refused:
        await d.call("QueryWorkflow", query())
    assert refused.value.code == Code.FAILED_PRECONDITION
    assert isinstance(refused.value.detail, WorkflowNotReadyFailure)
    await d.step(complete_workflow())
    condition = QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_OPEN
    response = await d.call("QueryWorkflow", query(query_reject_condition=condition))
    assert response.HasField("query_rejected")


# --- updates


def update(update_id: str = "u") -> UpdateWorkflowExecutionRequest:
    request = UpdateWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id = "w"
    request.wait_policy.lifecycle_stage = _COMPLETED
    request.request.meta.update_id, request.request.input.name = update_id, "add"
    return request


def message(update_id: str, body: Any, message_id: str) -> tuple[Message, Command]:
    packed = AnyMessage()
    packed.Pack(body)
    command = Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
    command.protocol_message_command_attributes.message_id = message_id
    return Message(id=message_id, protocol_instance_id=update_id, body=packed), command


@in_engine
async def test_an_update_is_accepted_and_completed_in_one_task(d: Driver) -> None:
    await d.start()
    await d.step(start_timer(seconds=3600))
    with d.clock.held():
        asked = await soon(d.call("UpdateWorkflowExecution", update()))
        task = await d.workflow_task()
        [sent] = task.messages
        assert (sent.protocol_instance_id, sent.event_id) == ("u", task.started_event_id - 1)
        accepted = message(
            "u",
            Acceptance(
                accepted_request_message_id=sent.id, accepted_request_sequencing_event_id=sent.event_id
            ),
            "1",
        )
        completed = message(
            "u", Response(meta=Meta(update_id="u"), outcome=Outcome(success=payload("4"))), "2"
        )
        await d.complete(task, accepted[1], completed[1], messages=[accepted[0], completed[0]])
        assert (await asked).outcome.success == payload("4")
        assert (await d.names())[-5:] == [
            "WorkflowTaskScheduled",
            "WorkflowTaskStarted",
            "WorkflowTaskCompleted",
            "WorkflowExecutionUpdateAccepted",
            "WorkflowExecutionUpdateCompleted",
        ]
        again = await d.call("UpdateWorkflowExecution", update())
        assert again.outcome.success == payload("4")  # the same id is the same update


CAPABLE = {"discard_speculative_workflow_task_with_events": True}


@in_engine
async def test_a_rejected_update_leaves_no_trace(d: Driver) -> None:
    await d.start()
    await d.step(start_timer(seconds=3600))
    with d.clock.held():
        before = await d.names()
        asked = await soon(d.call("UpdateWorkflowExecution", update()))
        task = await d.workflow_task()
        rejection, _ = message("u", Rejection(rejected_request_message_id="u/request"), "1")
        rejection_body = Rejection()
        rejection.body.Unpack(rejection_body)
        rejection_body.failure.message = "not now"
        rejection.body.Pack(rejection_body)
        response = await d.complete(task, messages=[rejection], capabilities=CAPABLE)
        assert response.reset_history_event_id == 3
        assert (await asked).outcome.failure.message == "not now"
        assert await d.names() == before


@in_engine
async def test_an_update_of_a_closed_run_is_not_found(d: Driver) -> None:
    await d.start()
    asked = await soon(d.call("UpdateWorkflowExecution", update()))
    await d.step(complete_workflow())
    with pytest.raises(ServiceError, match="aborted by closing workflow") as missed:
        await asked
    assert missed.value.code == Code.NOT_FOUND


@in_engine
async def test_a_query_that_comes_in_the_instant_in_which_the_task_completes_is_answered(d: Driver) -> None:
    await d.start()
    task = await d.workflow_task()
    with d.clock.held():
        asked = asyncio.create_task(d.call("QueryWorkflow", query()))
        await asyncio.sleep(0)  # it has begun to wait, and nothing else has run
        await d.complete(task)
        direct = await asyncio.wait_for(d.workflow_task(), 5)
        assert direct.query.query_type == "total"
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


@in_engine
async def test_a_description_counts_from_the_first_task_and_names_the_last_build(d: Driver) -> None:
    await d.start(workflow_start_delay=duration(60 * SECOND))
    begun = d.clock.now() + 60 * SECOND
    stamp = WorkerVersionStamp(build_id="abc")
    await d.complete(await d.workflow_task(), complete_workflow(), worker_version_stamp=stamp)
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id = "w"
    info = (await d.call("DescribeWorkflowExecution", request)).workflow_execution_info
    assert info.execution_time.ToNanoseconds() == begun
    assert info.execution_duration.ToNanoseconds() == info.close_time.ToNanoseconds() - begun
    assert info.most_recent_worker_version_stamp == stamp
