"""Workers as they tell of themselves, how they leave, what they are advised. TEMPORAL.md, sections 1.3 and 22."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_driver import QUEUE, Driver, in_engine
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerHostInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkersRequest,
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeWorkerRequest,
    ListWorkersRequest,
    PollWorkflowTaskQueueRequest,
    RecordWorkerHeartbeatRequest,
    ShutdownWorkerRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import MILLISECOND, SECOND
from perdure.engine.scaling import hint
from perdure.engine.worker_filter import compile_filter


def heartbeat(key: str, **fields: Any) -> WorkerHeartbeat:
    made = WorkerHeartbeat(
        worker_instance_key=key,
        worker_identity=f"id-{key}",
        host_info=WorkerHostInfo(host_name="host-1", process_id="7"),
        task_queue="q1",
        status=WorkerStatus.WORKER_STATUS_RUNNING,
        start_time=Timestamp(seconds=1_767_225_600),
        heartbeat_time=Timestamp(seconds=1_767_225_660),
    )
    made.MergeFrom(WorkerHeartbeat(**fields))
    return made


A = heartbeat("a")
B = heartbeat(
    "b", task_queue="q2", deployment_version=WorkerDeploymentVersion(deployment_name="d", build_id="1")
)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", "ab"),
        ("TaskQueue = 'q1'", "a"),
        ("TaskQueue = 'q1' OR DeploymentName = 'd'", "ab"),
        ("TaskQueue != 'q1'", "b"),
        ("HostName starts_with 'host'", "ab"),
        ("HostName NOT STARTS_WITH 'host'", ""),
        ("BuildId IS NULL", "a"),
        ("BuildId IS NOT NULL", "b"),
        ("WorkerStatus = 'Running'", "ab"),
        ("Status = 'Running' AND (WorkerInstanceKey = 'b')", "b"),
        ("StartTime > '2025-01-01T00:00:00Z'", "ab"),
        ("StartTime BETWEEN '2025-01-01T00:00:00Z' AND '2025-02-01T00:00:00Z'", ""),
        ("HeartbeatTime < '2027-01-01T00:00:00Z' and TaskQueue='q2'", "b"),
        ("Unheard = 'x'", ""),
        ("NOT TaskQueue = 'q1'", ""),
        ("TaskQueue = ''", ""),
        ("TaskQueue > 'a'", ""),
    ],
)
def test_the_filter_answers_as_temporals_server_does(query: str, keys: str) -> None:
    matches = compile_filter(query)
    assert "".join(h.worker_instance_key for h in (A, B) if matches(h)) == keys


@pytest.mark.parametrize("query", ["bad bad bad", "TaskQueue = 'a' LIMIT 1", "TaskQueue LIKE 'a'", "("])
def test_what_is_no_filter_is_refused(query: str) -> None:
    with pytest.raises(ServiceError) as refused:
        compile_filter(query)
    assert refused.value.code == Code.INVALID_ARGUMENT


def test_hints_about_the_number_of_polls() -> None:
    calm: dict[str, Any] = {"poll_waited": 0, "task_waited": 0, "waiting": 0, "added": 1.0, "dispatched": 1.0}
    assert hint(**calm, from_backlog=False) == 0
    assert hint(**{**calm, "poll_waited": 2 * SECOND}, from_backlog=False) == -1
    assert hint(**{**calm, "task_waited": 300 * MILLISECOND, "waiting": 5}, from_backlog=True) == 1
    assert hint(**{**calm, "added": 2.0}, from_backlog=False) == 1


async def told(d: Driver, *heartbeats: WorkerHeartbeat) -> None:
    await d.call(
        "RecordWorkerHeartbeat",
        RecordWorkerHeartbeatRequest(namespace="default", worker_heartbeat=heartbeats),
    )


async def keys(d: Driver, **fields: Any) -> str:
    response = await d.call("ListWorkers", ListWorkersRequest(namespace="default", **fields))
    assert [w.worker_instance_key for w in response.workers] == [
        w.worker_heartbeat.worker_instance_key for w in response.workers_info
    ]
    return "".join(w.worker_instance_key for w in response.workers)


@in_engine
async def test_workers_are_listed_by_page_counted_and_described(d: Driver) -> None:
    await told(d, B, A)
    assert await keys(d) == "ab"
    page = await d.call("ListWorkers", ListWorkersRequest(namespace="default", page_size=1))
    assert await keys(d, page_size=1, next_page_token=page.next_page_token) == "b"
    counted = CountWorkersRequest(namespace="default", query="TaskQueue = 'q1'")
    assert (await d.call("CountWorkers", counted)).count == 1
    described = DescribeWorkerRequest(namespace="default", worker_instance_key="a")
    assert (await d.call("DescribeWorker", described)).worker_info.worker_heartbeat == A
    with pytest.raises(ServiceError, match="Worker zz not found"):
        await d.call("DescribeWorker", DescribeWorkerRequest(namespace="default", worker_instance_key="zz"))
    with pytest.raises(ServiceError, match="invalid next_page_token"):
        await keys(d, next_page_token=b"?")
    namespace = await d.call("DescribeNamespace", DescribeNamespaceRequest(namespace="default"))
    assert namespace.namespace_info.capabilities.worker_heartbeats


@in_engine
async def test_a_silent_worker_is_forgotten_after_five_minutes_and_one_that_ends_at_once(d: Driver) -> None:
    await told(d, A, B)
    with d.clock.held():
        d.clock.advance(200 * SECOND)
        await told(d, B)
        d.clock.advance(200 * SECOND)
        assert await keys(d) == "b"
        leaving = ShutdownWorkerRequest(namespace="default", worker_instance_key="b")
        leaving.worker_heartbeat.CopyFrom(B)
        leaving.worker_heartbeat.status = WorkerStatus.WORKER_STATUS_SHUTTING_DOWN
        await d.call("ShutdownWorker", leaving)
        assert await keys(d, query="WorkerStatus = 'ShuttingDown'") == "b"
        leaving.worker_heartbeat.status = WorkerStatus.WORKER_STATUS_SHUTDOWN
        await d.call("ShutdownWorker", leaving)
        assert not await keys(d)


@in_engine
async def test_a_worker_that_shuts_down_polls_no_more_and_is_no_poller_any_longer(d: Driver) -> None:
    poll = PollWorkflowTaskQueueRequest(namespace="default", identity="me", worker_instance_key="k")
    poll.task_queue.name = QUEUE
    waiting = asyncio.create_task(d.call("PollWorkflowTaskQueue", poll))
    await asyncio.sleep(0)
    leaving = ShutdownWorkerRequest(namespace="default", worker_instance_key="k", identity="me")
    await d.call("ShutdownWorker", leaving)
    assert not (await asyncio.wait_for(waiting, 5)).task_token
    await d.start()
    assert not (await d.call("PollWorkflowTaskQueue", poll)).task_token
    described = DescribeTaskQueueRequest(namespace="default")
    described.task_queue.name = QUEUE
    assert not (await d.call("DescribeTaskQueue", described)).pollers
    assert (await d.workflow_task()).task_token


@in_engine
async def test_tasks_that_wait_for_polls_come_with_the_advice_to_poll_more(d: Driver) -> None:
    for number in range(3):
        await d.start(f"w{number}")
    with d.clock.held():
        d.clock.advance(SECOND)
        assert (await d.workflow_task()).poller_scaling_decision.poll_request_delta_suggestion == 1
