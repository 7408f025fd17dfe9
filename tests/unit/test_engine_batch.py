"""Batch operations: what is refused, what each does to its runs, pace, progress, and life after a crash."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from engine_driver import Driver, complete_workflow, in_engine, only, start_timer
from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import BatchOperationState, BatchOperationType, ResetType
from temporalio.api.workflowservice.v1 import (
    CountActivityExecutionsRequest,
    CountWorkflowExecutionsRequest,
    DescribeBatchOperationRequest,
    DescribeBatchOperationResponse,
    ListBatchOperationsRequest,
    StartActivityExecutionRequest,
    StartBatchOperationRequest,
    StopBatchOperationRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.testing import MemoryJournal

COMPLETED = BatchOperationState.BATCH_OPERATION_STATE_COMPLETED
FAILED = BatchOperationState.BATCH_OPERATION_STATE_FAILED


def batch(
    job_id: str = "job", query: str = "WorkflowType = 'Flow'", **fields: Any
) -> StartBatchOperationRequest:
    request = StartBatchOperationRequest(
        namespace="default", job_id=job_id, reason="tidy up", visibility_query=query, **fields
    )
    if request.WhichOneof("operation") is None:
        request.termination_operation.identity = "me"
    return request


async def described(driver: Driver, job_id: str = "job") -> DescribeBatchOperationResponse:
    ask = DescribeBatchOperationRequest(namespace="default", job_id=job_id)
    return await driver.call("DescribeBatchOperation", ask)  # type: ignore[no-any-return]


async def ended(driver: Driver, job_id: str = "job") -> DescribeBatchOperationResponse:
    """The job, when it has ended."""
    while True:
        job = await described(driver, job_id)
        if job.state != BatchOperationState.BATCH_OPERATION_STATE_RUNNING:
            return job
        await asyncio.sleep(0)


async def run(driver: Driver, request: StartBatchOperationRequest) -> DescribeBatchOperationResponse:
    await driver.call("StartBatchOperation", request)
    return await ended(driver, request.job_id)


async def count(driver: Driver, query: str = "") -> int:
    ask = CountWorkflowExecutionsRequest(namespace="default", query=query)
    return int((await driver.call("CountWorkflowExecutions", ask)).count)


def counts(job: DescribeBatchOperationResponse) -> tuple[int, int, int]:
    return job.total_operation_count, job.complete_operation_count, job.failure_operation_count


@in_engine
async def test_termination_of_what_a_query_finds(driver: Driver) -> None:
    for id in ("a", "b", "c"):
        await driver.start(id)
    await driver.start("other", workflow_type={"name": "Other"})
    job = await run(driver, batch())
    assert (job.state, counts(job)) == (COMPLETED, (3, 3, 0))
    assert job.operation_type == BatchOperationType.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW
    assert (job.identity, job.reason, job.query) == ("me", "tidy up", "WorkflowType = 'Flow'")
    ended = (await driver.history("a"))[-1].workflow_execution_terminated_event_attributes
    assert (ended.reason, ended.identity) == ("tidy up", "me")
    assert await count(driver, "ExecutionStatus = 'Running'") == 1


@in_engine
async def test_executions_may_be_named_and_those_that_are_gone_count_as_done(driver: Driver) -> None:
    await driver.start("a")
    named = [WorkflowExecution(workflow_id=id) for id in ("a", "missing")]
    job = await run(driver, batch(query="", executions=named))
    assert counts(job) == (2, 2, 0)
    assert [each.business_id for each in job.executions] == ["a", "missing"]


@in_engine
async def test_a_signal_comes_once_to_each_run(driver: Driver) -> None:
    await driver.start("a")
    await driver.start("b")
    job = await run(driver, batch(signal_operation={"signal": "go", "identity": "me"}))
    assert counts(job) == (2, 2, 0)
    signal = only(await driver.history("b"), "WorkflowExecutionSignaled")
    assert signal.workflow_execution_signaled_event_attributes.signal_name == "go"
    assert signal.workflow_execution_signaled_event_attributes.request_id


@in_engine
async def test_cancellation(driver: Driver) -> None:
    await driver.start("a")
    await run(driver, batch(cancellation_operation={"identity": "me"}))
    only(await driver.history("a"), "WorkflowExecutionCancelRequested")


@in_engine
async def test_deletion_takes_closed_runs_too(driver: Driver) -> None:
    await driver.start("a")
    await driver.step(complete_workflow())
    await driver.start("b")
    job = await run(driver, batch(deletion_operation={"identity": "me"}))
    assert counts(job) == (2, 2, 0)
    assert await count(driver) == 0
    with pytest.raises(ServiceError, match="workflow not found for ID: a"):
        await driver.history("a")
    await driver.start("a")  # as if it had never been


@in_engine
async def test_a_reset_goes_to_the_task_that_is_named(driver: Driver) -> None:
    await driver.start("a")
    await driver.step(start_timer("1"))
    await driver.signal(workflow_id="a")
    await driver.step(start_timer("2"))
    first = ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK
    job = await run(driver, batch(reset_operation={"reset_type": first}))
    assert counts(job) == (1, 1, 0)
    assert (await driver.names("a"))[:5] == [
        *("WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted"),
        *("WorkflowTaskFailed", "WorkflowExecutionSignaled"),
    ]
    job = await run(driver, batch("by-build-id", reset_operation={"options": {"build_id": "nope"}}))
    assert counts(job)[2] == job.failure_operation_count == counts(job)[0]


@in_engine
async def test_the_pace_is_kept_and_progress_survives_a_crash(driver: Driver) -> None:
    for number in range(5):
        await driver.start(f"w{number}")
    driver.clock.hold()
    begun = driver.clock.now()
    await driver.call("StartBatchOperation", batch(max_operations_per_second=2))
    while (await described(driver)).complete_operation_count < 2:  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0)
    assert (await described(driver)).complete_operation_count == 2
    driver.clock.release()
    successor = await driver.crash()
    job = await ended(successor)
    assert counts(job) == (5, 5, 0)
    assert successor.clock.now() - begun >= 10**9
    assert await count(successor, "ExecutionStatus = 'Terminated'") == 5
    assert (await described(successor)).close_time == job.close_time
    await successor.engine.stop()


FIRST = {"options": {"first_workflow_task": {}}}
ONCE: dict[
    str, tuple[dict[str, Any], str]
] = {  # operation -> the event that each run has of it afterwards, once
    "termination_operation": ({"identity": "me"}, "WorkflowExecutionTerminated"),
    "cancellation_operation": ({"identity": "me"}, "WorkflowExecutionCancelRequested"),
    "signal_operation": ({"signal": "go"}, "WorkflowExecutionSignaled"),
    "reset_operation": (FIRST, "WorkflowExecutionTerminated"),
    "deletion_operation": ({"identity": "me"}, ""),
}


@pytest.mark.parametrize("operation", list(ONCE))
def test_each_run_gets_it_once_wherever_the_process_ends(operation: str) -> None:
    fields, wanted = ONCE[operation]

    @in_engine
    async def body(driver: Driver) -> None:
        for number in range(3):
            await driver.start(f"w{number}")
            await driver.step(start_timer(seconds=10**6))
        runs = list(driver.journal.runs)
        files: list[MemoryJournal] = []
        driver.journal.observe = lambda records: files.append(copy.deepcopy(driver.journal))
        job = await run(driver, batch(**{operation: fields}))
        assert counts(job) == (3, 3, 0)
        for file in files:
            file.observe = None
            successor = Driver(file, driver.clock, driver.limits)
            await successor.engine.start()
            assert counts(await ended(successor)) == (3, 3, 0)
            if not wanted:
                assert not file.runs
            for number, run_id in enumerate(runs if wanted else ()):
                assert (await successor.names(f"w{number}", run_id)).count(wanted) == 1
            assert len(file.runs) == {"reset_operation": 6, "deletion_operation": 0}.get(operation, 3)
            await successor.engine.stop()
        assert len(files) > 4

    body()


@in_engine
async def test_one_at_a_time_each_id_once_and_a_stop(driver: Driver) -> None:
    for number in range(3):
        await driver.start(f"w{number}")
    driver.clock.hold()
    await driver.call("StartBatchOperation", batch(max_operations_per_second=1))
    with pytest.raises(ServiceError, match="Max concurrent batch operations is reached") as refusal:
        await driver.call("StartBatchOperation", batch("second"))
    assert refusal.value.code is Code.RESOURCE_EXHAUSTED
    stop = StopBatchOperationRequest(namespace="default", job_id="job", reason="enough")
    await driver.call("StopBatchOperation", stop)
    assert (await described(driver)).state == FAILED
    driver.clock.release()
    with pytest.raises(ServiceError, match="workflow execution already completed"):
        await driver.call("StopBatchOperation", stop)
    with pytest.raises(ServiceError, match="already finished") as refusal:
        await driver.call("StartBatchOperation", batch())
    assert refusal.value.code is Code.ALREADY_EXISTS
    driver.clock.advance(1)
    await run(driver, batch("third"))
    listed = await driver.call(
        "ListBatchOperations", ListBatchOperationsRequest(namespace="default", page_size=1)
    )
    assert [each.job_id for each in listed.operation_info] == ["third"]
    rest = ListBatchOperationsRequest(namespace="default", next_page_token=listed.next_page_token)
    assert [each.job_id for each in (await driver.call("ListBatchOperations", rest)).operation_info] == [
        "job"
    ]


@in_engine
async def test_a_query_that_names_nothing_we_know_fails_the_job(driver: Driver) -> None:
    assert (await run(driver, batch(query="Nope = 1"))).state == FAILED


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"reason": ""}, "must provide required parameters"),
        ({"query": ""}, "must provide required parameters"),
        ({"job_id": ""}, "JobId is not set on request."),
        ({"query": "WorkflowId ="}, "invalid visibility query: "),
        ({"executions": [WorkflowExecution(workflow_id="a")]}, "mutually exclusive"),
        ({"signal_operation": {}}, "must provide signal name"),
        ({"reset_operation": {}}, "unknown batch reset type Unspecified"),
        ({"reset_operation": {"options": {}}}, "batch reset missing target"),
        ({"update_workflow_options_operation": {}}, "must provide UpdateOptions"),
        ({"unpause_activities_operation": {}}, "activity filter must be set"),
        ({"reset_activities_operation": {}}, "must provide ActivityType or MatchAll"),
        (
            {"update_activity_options_operation": {}},
            "Either activity type must be set, or restore original should be set to true",
        ),
    ],
)
def test_what_is_refused(fields: dict[str, Any], text: str) -> None:
    @in_engine
    async def body(driver: Driver) -> None:
        request = batch(**{name: value for name, value in fields.items() if name != "reason"})
        request.reason = fields.get("reason", request.reason)
        with pytest.raises(ServiceError) as refusal:
            await driver.call("StartBatchOperation", request)
        assert refusal.value.code is Code.INVALID_ARGUMENT
        assert refusal.value.message.startswith(text) or text in refusal.value.message

    body()


@in_engine
async def test_standalone_activities_are_ended_by_a_batch_of_their_own(driver: Driver) -> None:
    for id in ("a", "b"):
        request = StartActivityExecutionRequest(namespace="default", activity_id=id, request_id=id)
        request.activity_type.name, request.task_queue.name = "act", "queue"
        request.start_to_close_timeout.CopyFrom(Duration(seconds=60))
        await driver.call("StartActivityExecution", request)
    await driver.start("a")  # a workflow of the same id is none of its business
    ending = {"reason": "tidy up", "identity": "me"}
    job = await run(driver, batch(query="ActivityId = 'a'", terminate_activities_operation=ending))
    assert counts(job) == (1, 1, 0)
    left = CountActivityExecutionsRequest(namespace="default", query="ExecutionStatus = 'Running'")
    assert (await driver.call("CountActivityExecutions", left)).count == 1
    assert await count(driver, "ExecutionStatus = 'Running'") == 1


@in_engine
async def test_unknown_jobs_are_not_found(driver: Driver) -> None:
    stop = StopBatchOperationRequest(namespace="default", job_id="nope", reason="x")
    for method, request in (
        ("DescribeBatchOperation", DescribeBatchOperationRequest(namespace="default", job_id="nope")),
        ("StopBatchOperation", stop),
    ):
        with pytest.raises(ServiceError, match="workflow not found for ID: nope"):
            await driver.call(method, request)
