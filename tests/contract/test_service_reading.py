"""Describe, history (pages, long polls, the close event, reverse), lists and counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from service_calls import Service, Started, event_name, new_name, payloads
from temporalio.api.command.v1 import (
    CompleteWorkflowExecutionCommandAttributes,
    ScheduleActivityTaskCommandAttributes,
    StartChildWorkflowExecutionCommandAttributes,
)
from temporalio.api.common.v1 import ActivityType, Memo, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import EventType, HistoryEventFilterType, PendingWorkflowTaskState
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.taskqueue.v1 import TaskQueue

CLOSE_EVENT = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
RUNNING, COMPLETED, TERMINATED = 1, 2, 5
END = CompleteWorkflowExecutionCommandAttributes


# --- describe


def test_an_open_run_is_described(service: Service) -> None:
    memo = Memo(fields={"m": payloads(1).payloads[0]})
    run = service.start(memo=memo, workflow_run_timeout=Duration(seconds=50), request_id="r1")
    described = run.describe()
    config, info = described.execution_config, described.workflow_execution_info
    assert config.task_queue.name == run.queue
    assert (config.workflow_run_timeout.seconds, config.default_workflow_task_timeout.seconds) == (50, 10)
    assert not config.HasField("workflow_execution_timeout")
    assert info.execution == run.execution
    assert (info.type.name, info.status, info.history_length, info.task_queue) == (
        "T",
        RUNNING,
        2,
        run.queue,
    )
    assert info.memo == memo
    assert info.root_execution == run.execution
    assert info.first_run_id == run.run_id
    assert not info.HasField("close_time") and not info.HasField("parent_execution")
    assert info.start_time == info.execution_time
    assert info.history_size_bytes > 0
    pending = described.pending_workflow_task
    assert pending.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    assert pending.attempt == 1
    extended = described.workflow_extended_info
    assert extended.original_start_time == info.start_time
    assert extended.run_expiration_time.ToSeconds() - info.start_time.ToSeconds() in (50, 51)
    known = extended.request_id_infos["r1"]
    assert (known.event_id, known.event_type) == (1, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)


def test_a_started_task_is_described(service: Service) -> None:
    run = service.start()
    run.poll()
    pending = run.describe().pending_workflow_task
    assert pending.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
    assert pending.HasField("started_time") and pending.HasField("original_scheduled_time")


def test_a_closed_run_is_described(service: Service) -> None:
    run = service.start()
    run.work(END())
    described = run.describe()
    info = described.workflow_execution_info
    assert (info.status, info.history_length) == (COMPLETED, 5)
    lasted = info.close_time.ToNanoseconds() - info.execution_time.ToNanoseconds()
    assert info.execution_duration.ToNanoseconds() == lasted
    assert not described.pending_activities
    assert not described.HasField("pending_workflow_task")


def test_a_child_is_described_on_both_sides(service: Service) -> None:
    parent = service.start()
    child_id, queue = f"{parent.id}-child", TaskQueue(name=new_name("queue"))
    child_type = WorkflowType(name="Child")
    parent.work(
        StartChildWorkflowExecutionCommandAttributes(
            workflow_id=child_id, workflow_type=child_type, task_queue=queue
        )
    )
    parent.poll()  # there is one once the child has started
    (pending,) = parent.describe().pending_children
    assert (pending.workflow_id, pending.workflow_type_name, pending.initiated_id) == (child_id, "Child", 5)
    child = service.call("DescribeWorkflowExecution", execution=WorkflowExecution(workflow_id=child_id))
    info = child.workflow_execution_info
    assert info.execution.run_id == pending.run_id
    assert (info.parent_execution, info.root_execution) == (parent.execution, parent.execution)


def test_an_activity_is_described_through_its_life(service: Service) -> None:
    run = service.start()
    queue, short = TaskQueue(name=run.queue), Duration(seconds=30)
    run.work(
        ScheduleActivityTaskCommandAttributes(
            activity_id="a1",
            activity_type=ActivityType(name="act"),
            task_queue=queue,
            start_to_close_timeout=short,
        )
    )

    def pending() -> Any:
        (activity,) = run.describe().pending_activities
        return activity

    waiting = pending()
    assert (waiting.activity_id, waiting.activity_type.name, waiting.attempt) == ("a1", "act", 1)
    assert (waiting.state, waiting.maximum_attempts) == (1, 0)
    assert not waiting.HasField("last_started_time")
    task = run.poll_activity()
    started = pending()
    assert (started.state, started.last_worker_identity) == (2, "worker")
    assert started.HasField("last_started_time") and not started.HasField("last_heartbeat_time")
    service.call("RecordActivityTaskHeartbeat", task_token=task.task_token, details=payloads("half"))
    assert pending().heartbeat_details == payloads("half")
    failure = Failure(message="oops", application_failure_info=ApplicationFailureInfo(type="X"))
    service.call(
        "RespondActivityTaskFailed",
        task_token=task.task_token,
        failure=failure,
        identity="worker",
    )
    retried = pending()
    assert (retried.state, retried.attempt, retried.last_failure.message) == (1, 2, "oops")
    assert retried.HasField("next_attempt_schedule_time") and retried.HasField("last_attempt_complete_time")
    assert round(retried.current_retry_interval.ToTimedelta().total_seconds(), 1) == 1.0


# --- history


def history(run: Started, rpc: str = "GetWorkflowExecutionHistory", **fields: Any) -> Any:
    return run.service.call(rpc, execution=run.execution, **fields)


@pytest.mark.parametrize("rpc", ["GetWorkflowExecutionHistory", "GetWorkflowExecutionHistoryReverse"])
def test_a_history_comes_in_pages(service: Service, rpc: str) -> None:
    """The pages' sizes are the server's business: it never cuts a transaction."""
    run = service.start()
    for number in range(8):
        service.call("SignalWorkflowExecution", workflow_execution=run.execution, signal_name=f"s{number}")
    pages, token = [], b""
    while True:
        page = history(run, rpc, maximum_page_size=3, next_page_token=token)
        pages.append([event.event_id for event in page.history.events])
        token = page.next_page_token
        if not token:
            break
    assert len(pages) > 2
    ids = [number for page in pages for number in page]
    assert ids == sorted(range(1, 11), reverse=rpc.endswith("Reverse"))


def test_a_page_belongs_to_its_run(service: Service) -> None:
    run, other = service.start(), service.start()
    token = history(run, wait_new_event=True).next_page_token
    refused = service.refused("GetWorkflowExecutionHistory", execution=other.execution, next_page_token=token)
    assert (refused.code, refused.message) == (
        "INVALID_ARGUMENT",
        "RunId in the request does not match the NextPageToken.",
    )


def test_the_close_event_of_a_closed_run_comes_alone(service: Service) -> None:
    run = service.start()
    run.work(END())
    for wait in (False, True):
        answer = history(run, history_event_filter_type=CLOSE_EVENT, wait_new_event=wait)
        assert [event_name(event) for event in answer.history.events] == ["WorkflowExecutionCompleted"]
        assert not answer.next_page_token


def test_the_close_event_can_be_waited_for(service: Service) -> None:
    run = service.start()
    waiting = service.begin(
        "GetWorkflowExecutionHistory",
        execution=run.execution,
        history_event_filter_type=CLOSE_EVENT,
        wait_new_event=True,
    )
    run.work(END())
    answer = waiting.result(20)
    assert [event_name(event) for event in answer.history.events] == ["WorkflowExecutionCompleted"]


def test_new_events_can_be_waited_for_until_the_end(service: Service) -> None:
    run = service.start()
    first = history(run, wait_new_event=True)
    assert [event.event_id for event in first.history.events] == [1, 2]
    waiting = service.begin(
        "GetWorkflowExecutionHistory",
        execution=run.execution,
        wait_new_event=True,
        next_page_token=first.next_page_token,
    )
    service.call("SignalWorkflowExecution", workflow_execution=run.execution, signal_name="s")
    second = waiting.result(20)
    assert [event.event_id for event in second.history.events] == [3]
    run.terminate()
    last = history(run, wait_new_event=True, next_page_token=second.next_page_token)
    assert [event_name(event) for event in last.history.events] == ["WorkflowExecutionTerminated"]
    assert not last.next_page_token


# --- lists and counts


def eventually(ask: Callable[[], Any]) -> Any:
    """The first answer that is not empty: a cluster's lists follow its runs with a delay."""
    for _ in range(100):
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError("the list never showed it")


def test_a_run_is_listed_as_it_stands(service: Service) -> None:
    run = service.start(memo=Memo(fields={"m": payloads(1).payloads[0]}))

    def listed(status: str) -> list[Any]:
        query = f"WorkflowId = '{run.id}' AND ExecutionStatus = '{status}'"
        return list(service.call("ListWorkflowExecutions", query=query).executions)

    (open_one,) = eventually(lambda: listed("Running"))
    assert (open_one.execution, open_one.type.name, open_one.status) == (run.execution, "T", RUNNING)
    assert open_one.task_queue == run.queue
    assert open_one.memo.fields["m"].data == b"1"
    assert open_one.root_execution == run.execution
    assert not open_one.HasField("close_time")
    run.terminate()
    (closed,) = eventually(lambda: listed("Terminated"))
    assert (closed.status, closed.history_length) == (TERMINATED, 3)
    assert closed.HasField("close_time") and closed.HasField("execution_duration")


def test_lists_come_in_pages_and_counts_by_status(service: Service) -> None:
    kind = new_name("type").replace("-", "_")
    runs = [service.start(workflow_type=WorkflowType(name=kind)) for _ in range(5)]
    runs[0].terminate()
    query = f"WorkflowType = '{kind}'"
    closed = f"{query} AND ExecutionStatus = 'Terminated'"
    eventually(lambda: service.call("CountWorkflowExecutions", query=query).count == 5)
    eventually(lambda: service.call("CountWorkflowExecutions", query=closed).count == 1)
    seen, token = [], b""
    while True:
        page = service.call("ListWorkflowExecutions", query=query, page_size=2, next_page_token=token)
        seen += [each.execution.workflow_id for each in page.executions]
        token = page.next_page_token
        if not token:
            break
    assert sorted(seen) == sorted(run.id for run in runs)
    counted = service.call("CountWorkflowExecutions", query=f"{query} GROUP BY ExecutionStatus")
    groups = {json.loads(group.group_values[0].data): group.count for group in counted.groups}
    assert (counted.count, groups) == (5, {"Running": 4, "Terminated": 1})
    assert all(group.group_values[0].metadata["type"] == b"Keyword" for group in counted.groups)


def test_a_queue_knows_who_polls(service: Service) -> None:
    run = service.start()
    run.poll()
    queue = TaskQueue(name=run.queue)
    asked = service.call("DescribeTaskQueue", task_queue=queue, task_queue_type=1)
    assert [poller.identity for poller in asked.pollers] == ["worker"]
