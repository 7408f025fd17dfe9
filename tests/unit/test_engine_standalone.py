"""Standalone activities: started, taken, retried, steered and ended without a workflow. TEMPORAL.md, section 21."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import fields
from typing import Any

import pytest
from engine_driver import QUEUE, Driver, application_failure, in_engine, payload
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import Payload, RetryPolicy, SearchAttributes
from temporalio.api.enums.v1 import (
    ActivityExecutionStatus,
    ActivityIdConflictPolicy,
    ActivityIdReusePolicy,
    PendingActivityState,
    RetryState,
    TimeoutType,
)
from temporalio.api.errordetails.v1 import ActivityExecutionAlreadyStartedFailure
from temporalio.api.workflowservice.v1 import (
    CountActivityExecutionsRequest,
    DeleteActivityExecutionRequest,
    DescribeActivityExecutionRequest,
    DescribeWorkflowExecutionRequest,
    ListActivityExecutionsRequest,
    ListWorkflowExecutionsRequest,
    PauseActivityExecutionRequest,
    PollActivityExecutionRequest,
    RecordActivityTaskHeartbeatRequest,
    RequestCancelActivityExecutionRequest,
    ResetActivityExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskFailedByIdRequest,
    StartActivityExecutionRequest,
    TerminateActivityExecutionRequest,
    UnpauseActivityExecutionRequest,
    UpdateActivityExecutionOptionsRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration, from_duration, from_timestamp
from perdure.engine.recovery import recover
from perdure.engine.standalone import DIVISION
from perdure.engine.state import Activity

_Status = ActivityExecutionStatus
_State = PendingActivityState
SLOW = RetryPolicy(initial_interval=duration(30 * SECOND))
MEMORY_ONLY = {"stamp", "offered"}


async def start(d: Driver, activity_id: str = "a", **given: Any) -> str:
    """Starts one; times in seconds."""
    request = StartActivityExecutionRequest(namespace="default", activity_id=activity_id)
    request.activity_type.name = "act"
    request.task_queue.name = QUEUE
    request.start_to_close_timeout.CopyFrom(duration(60 * SECOND))
    for name, value in given.items():
        if isinstance(value, int) and name.endswith(("timeout", "delay")):
            getattr(request, name).CopyFrom(duration(value * SECOND))
        elif isinstance(value, int | str):
            setattr(request, name, value)
        else:
            getattr(request, name).CopyFrom(value)
    return str((await d.call("StartActivityExecution", request)).run_id)


async def describe(d: Driver, activity_id: str = "a", run_id: str = "", token: bytes = b"") -> Any:
    request = DescribeActivityExecutionRequest(
        namespace="default",
        activity_id=activity_id,
        run_id=run_id,
        long_poll_token=token,
        include_outcome=True,
        include_input=True,
        include_heartbeat_details=True,
        include_last_failure=True,
    )
    answer = await d.call("DescribeActivityExecution", request)
    await assert_recoverable(d, activity_id)
    return answer


async def steer(d: Driver, action: str, activity_id: str = "a", **given: Any) -> Any:
    request = {
        "RequestCancel": RequestCancelActivityExecutionRequest,
        "Terminate": TerminateActivityExecutionRequest,
        "Pause": PauseActivityExecutionRequest,
        "Unpause": UnpauseActivityExecutionRequest,
        "Reset": ResetActivityExecutionRequest,
    }[action](namespace="default", activity_id=activity_id, identity="op", **given)
    answer = await d.call(f"{action}ActivityExecution", request)
    await assert_recoverable(d, activity_id)
    return answer


async def update(d: Driver, *paths: str, **given: Any) -> Any:
    request = UpdateActivityExecutionOptionsRequest(namespace="default", activity_id="a", **given)
    if paths:
        request.update_mask.CopyFrom(FieldMask(paths=paths))
    answer = await d.call("UpdateActivityExecutionOptions", request)
    await assert_recoverable(d)
    return answer


async def outcome(d: Driver, activity_id: str = "a") -> Any:
    request = PollActivityExecutionRequest(namespace="default", activity_id=activity_id)
    return (await d.call("PollActivityExecution", request)).outcome


async def heartbeat(d: Driver, token: bytes, text: str = "half") -> Any:
    request = RecordActivityTaskHeartbeatRequest(namespace="default", task_token=token, details=payload(text))
    return await d.call("RecordActivityTaskHeartbeat", request)


async def assert_recoverable(d: Driver, activity_id: str = "a") -> None:
    """What is in the journal is what is in memory."""
    run = await d.engine.runs.latest("default", activity_id, DIVISION)
    assert run is not None
    records = await d.journal.read_run(run.ex.run_id)
    assert records is not None
    again = recover(copy.deepcopy(records))
    assert (again.status, again.close_time) == (run.ex.status, run.ex.close_time)
    assert run.ex.activity is not None
    assert again.activity is not None
    assert shape(again.activity) == shape(run.ex.activity)


def shape(activity: Activity) -> dict[str, object]:
    return {f.name: getattr(activity, f.name) for f in fields(activity) if f.name not in MEMORY_ONLY}


@in_engine
async def test_a_standalone_activity_is_run_and_its_result_waited_for(d: Driver) -> None:
    run_id = await start(d, input=payload("in"))
    waiting = asyncio.ensure_future(outcome(d))
    task = await d.activity_task()
    assert (task.activity_id, task.activity_run_id, task.workflow_execution.workflow_id) == ("a", run_id, "")
    assert task.input == payload("in")
    await d.complete_activity(task, "out")
    assert (await waiting).result == payload("out")
    described = await describe(d)
    assert described.info.status == _Status.ACTIVITY_EXECUTION_STATUS_COMPLETED
    assert described.input == payload("in")


@in_engine
async def test_it_is_retried_with_its_heartbeat_and_survives_a_crash(d: Driver) -> None:
    await start(d)
    task = await d.activity_task()
    await heartbeat(d, task.task_token)
    await d.fail_activity(task)
    info = (await describe(d)).info
    assert (info.attempt, from_duration(info.current_retry_interval)) == (2, SECOND)
    assert info.last_failure.message == "boom"
    successor = await d.crash()
    try:
        again = await successor.activity_task()
        assert (again.attempt, again.heartbeat_details) == (2, payload("half"))
        await successor.complete_activity(again)
        assert (await outcome(successor)).HasField("result")
    finally:
        await successor.engine.stop()


@in_engine
async def test_its_history_is_no_workflow(d: Driver) -> None:
    run_id = await start(d)
    for given in ("", run_id):
        request = DescribeWorkflowExecutionRequest(namespace="default")
        request.execution.workflow_id, request.execution.run_id = "a", given
        with pytest.raises(ServiceError) as gone:
            await d.call("DescribeWorkflowExecution", request)
        assert gone.value.code == Code.NOT_FOUND
    await d.start("a")  # ids of workflows and activities do not meet
    listed = await d.call("ListWorkflowExecutions", ListWorkflowExecutionsRequest(namespace="default"))
    assert [info.type.name for info in listed.executions] == ["Flow"]


@in_engine
async def test_a_failure_for_good_is_the_outcome(d: Driver) -> None:
    await start(d, retry_policy=RetryPolicy(maximum_attempts=1))
    await d.fail_activity(await d.activity_task())
    got = await outcome(d)
    assert got.failure.message == "boom"
    assert got.retry_state == RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED
    assert (await describe(d)).info.last_failure.message == "boom"


@in_engine
async def test_a_timeout_tells_the_attempt_before(d: Driver) -> None:
    await start(d, start_to_close_timeout=5, retry_policy=RetryPolicy(maximum_attempts=2))
    await d.fail_activity(await d.activity_task())
    await d.activity_task()
    got = await outcome(d)
    assert got.failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    assert got.failure.cause.message == "boom"
    info = (await describe(d)).info
    assert info.status == _Status.ACTIVITY_EXECUTION_STATUS_TIMED_OUT
    assert info.last_failure == got.failure


@in_engine
async def test_a_start_delay_defers_the_first_attempt_and_its_deadline(d: Driver) -> None:
    await start(d, start_delay=100, schedule_to_close_timeout=10)
    before = d.clock.now()
    info = (await describe(d)).info
    assert from_timestamp(info.expiration_time) - from_timestamp(info.schedule_time) == 110 * SECOND
    await d.activity_task()
    assert d.clock.now() - before == 100 * SECOND


@in_engine
async def test_ids_conflict_while_open_and_may_be_used_again(d: Driver) -> None:
    first = await start(d, request_id="r1")
    assert await start(d, request_id="r1") == first
    with pytest.raises(ServiceError) as refused:
        await start(d, request_id="r2")
    assert refused.value.code == Code.ALREADY_EXISTS
    assert refused.value.detail == ActivityExecutionAlreadyStartedFailure(start_request_id="r1", run_id=first)
    existing = ActivityIdConflictPolicy.ACTIVITY_ID_CONFLICT_POLICY_USE_EXISTING
    assert await start(d, request_id="r3", id_conflict_policy=existing) == first
    await d.complete_activity(await d.activity_task())
    for policy in (
        ActivityIdReusePolicy.ACTIVITY_ID_REUSE_POLICY_REJECT_DUPLICATE,
        ActivityIdReusePolicy.ACTIVITY_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
    ):
        with pytest.raises(ServiceError):
            await start(d, request_id="r4", id_reuse_policy=policy)
    assert await start(d, request_id="r5") != first
    assert (await describe(d, run_id=first)).info.status == _Status.ACTIVITY_EXECUTION_STATUS_COMPLETED


@in_engine
async def test_cancellation_ends_it_at_once_when_nobody_runs_it(d: Driver) -> None:
    await start(d)
    await steer(d, "RequestCancel", reason="why", request_id="r")
    await steer(d, "RequestCancel", reason="why", request_id="r")
    canceled = (await outcome(d)).failure
    assert (canceled.message, canceled.canceled_failure_info.identity) == ("Activity canceled", "op")
    assert canceled.canceled_failure_info.details == payload("why")
    assert (await describe(d)).info.canceled_reason == "why"
    with pytest.raises(ServiceError, match="terminal state Canceled"):
        await steer(d, "RequestCancel", request_id="other")


@in_engine
async def test_a_running_attempt_hears_of_cancellation_and_may_report_it(d: Driver) -> None:
    await start(d)
    task = await d.activity_task()
    answer = RespondActivityTaskCanceledRequest(task_token=task.task_token, details=payload("bye"))
    with pytest.raises(ServiceError, match="without activity being request canceled first"):
        await d.call("RespondActivityTaskCanceled", answer)
    await steer(d, "RequestCancel", request_id="r")
    assert (await describe(d)).info.run_state == _State.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
    assert (await heartbeat(d, task.task_token)).cancel_requested
    await d.call("RespondActivityTaskCanceled", answer)
    assert (await outcome(d)).failure.canceled_failure_info.details == payload("bye")


@in_engine
async def test_termination_ends_it_over_the_workers_head(d: Driver) -> None:
    await start(d)
    task = await d.activity_task()
    await steer(d, "Terminate", reason="enough", request_id="r")
    await steer(d, "Terminate", request_id="r")
    with pytest.raises(ServiceError, match="already terminated with request ID r"):
        await steer(d, "Terminate", request_id="other")
    failure = (await outcome(d)).failure
    assert (failure.message, failure.terminated_failure_info.identity) == ("enough", "op")
    with pytest.raises(ServiceError, match="activity not found for ID: a"):
        await heartbeat(d, task.task_token)


@in_engine
async def test_completion_by_id_needs_no_worker(d: Driver) -> None:
    await start(d)
    fail = RespondActivityTaskFailedByIdRequest(namespace="default", activity_id="a")
    with pytest.raises(ServiceError, match="activity not found"):
        await d.call("RespondActivityTaskFailedById", fail)
    complete = RespondActivityTaskCompletedByIdRequest(namespace="default", activity_id="a", identity="me")
    await d.call("RespondActivityTaskCompletedById", complete)
    info = (await describe(d)).info
    assert (info.last_worker_identity, info.attempt) == ("me", 1)
    with pytest.raises(ServiceError, match="invalid transition from Completed"):
        await d.call("RespondActivityTaskCompletedById", complete)


@in_engine
async def test_a_pause_keeps_it_from_workers_and_is_shown_in_lists(d: Driver) -> None:
    await start(d)
    await steer(d, "Pause", reason="why", request_id="p")
    assert (await describe(d)).info.status == _Status.ACTIVITY_EXECUTION_STATUS_PAUSED
    query = "ExecutionStatus = 'Paused' AND ActivityId = 'a'"
    request = ListActivityExecutionsRequest(namespace="default", query=query)
    assert len((await d.call("ListActivityExecutions", request)).executions) == 1
    with pytest.raises(ServiceError, match="non-pausable state Paused"):
        await steer(d, "Pause", request_id="q")
    await steer(d, "Unpause", request_id="u")
    await steer(d, "Pause", request_id="p")  # an old request that comes again
    task = await d.activity_task()
    await steer(d, "Pause", request_id="p2")
    assert (await heartbeat(d, task.task_token)).activity_paused
    await d.fail_activity(task, application_failure())
    info = (await describe(d)).info
    assert (info.run_state, info.attempt) == (_State.PENDING_ACTIVITY_STATE_PAUSED, 2)
    before = d.clock.now()
    await steer(d, "Unpause", request_id="u2")
    await d.activity_task()
    assert d.clock.now() - before == SECOND  # the back-off is kept


@in_engine
async def test_a_paused_one_still_runs_out_of_time(d: Driver) -> None:
    await start(d, schedule_to_close_timeout=10)
    await steer(d, "Pause")
    failure = (await outcome(d)).failure
    assert failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE


@in_engine
async def test_a_reset_meets_a_running_attempt_when_it_ends(d: Driver) -> None:
    await start(d, retry_policy=SLOW)
    await d.fail_activity(await d.activity_task())
    await steer(d, "Reset", request_id="r1")
    task = await d.activity_task()
    assert task.attempt == 1
    await heartbeat(d, task.task_token)
    await steer(d, "Reset", request_id="r2", reset_heartbeat=True)
    with pytest.raises(ServiceError, match="pending reset"):
        await steer(d, "Reset", request_id="r3")
    assert (await heartbeat(d, task.task_token)).activity_reset
    await d.fail_activity(task, application_failure(non_retryable=True))
    info = (await describe(d)).info
    assert (info.attempt, info.HasField("heartbeat_details")) == (1, False)
    assert (await d.activity_task()).attempt == 1


@in_engine
async def test_options_are_changed_and_restored(d: Driver) -> None:
    await start(d, retry_policy=SLOW)
    await d.fail_activity(await d.activity_task())
    options = ActivityOptions(
        start_to_close_timeout=duration(7 * SECOND),
        retry_policy=RetryPolicy(initial_interval=duration(5 * SECOND)),
    )
    answer = await update(
        d, "start_to_close_timeout", "retry_policy.initial_interval", activity_options=options
    )
    assert from_duration(answer.activity_options.start_to_close_timeout) == 7 * SECOND
    info = (await describe(d)).info
    assert from_duration(info.current_retry_interval) == 5 * SECOND
    await update(d, restore_original=True)
    info = (await describe(d)).info
    assert from_duration(info.current_retry_interval) == 30 * SECOND
    for paths, message in (
        (("nonsense",), 'unsupported update_mask path: "nonsense"'),
        (("start_delay",), "already been dispatched"),
        (("retry_policy.backoff_coefficient",), "BackoffCoefficient cannot be less than 1"),
    ):
        with pytest.raises(ServiceError, match=message):
            await update(d, *paths, activity_options=options)


@in_engine
async def test_describe_waits_for_a_change(d: Driver) -> None:
    run_id = await start(d)
    first = await describe(d)
    waiting = asyncio.ensure_future(describe(d, run_id=run_id, token=first.long_poll_token))
    await d.activity_task()
    second = await waiting
    assert second.info.run_state == _State.PENDING_ACTIVITY_STATE_STARTED
    assert second.info.state_transition_count == first.info.state_transition_count + 1
    for token, message in ((b"x", "invalid long poll token"), (b'["x", "y", 1]', "does not match")):
        with pytest.raises(ServiceError, match=message):
            await describe(d, run_id=run_id, token=token)


@in_engine
async def test_lists_find_them_by_their_own_names(d: Driver) -> None:
    found = Payload(metadata={"encoding": b"json/plain"}, data=b'["v1"]')
    await start(d, "a", search_attributes=SearchAttributes(indexed_fields={"TemporalChangeVersion": found}))
    await start(d, "b")
    await d.complete_activity(await d.activity_task())
    for query, ids in (
        ("", ["b", "a"]),
        ("ActivityType = 'act' AND ExecutionStatus = 'Running'", ["b"]),
        ("ActivityId = 'a' AND CloseTime IS NOT NULL", ["a"]),
        ("TemporalChangeVersion = 'v1'", ["a"]),
    ):
        request = ListActivityExecutionsRequest(namespace="default", query=query)
        listed = (await d.call("ListActivityExecutions", request)).executions
        assert [info.activity_id for info in listed] == ids
    counted = await d.call(
        "CountActivityExecutions",
        CountActivityExecutionsRequest(namespace="default", query="GROUP BY ExecutionStatus"),
    )
    assert (counted.count, len(counted.groups)) == (2, 2)


@in_engine
async def test_a_deleted_one_is_gone(d: Driver) -> None:
    await start(d)
    request = DeleteActivityExecutionRequest(namespace="default", activity_id="a")
    await d.call("DeleteActivityExecution", request)
    with pytest.raises(ServiceError, match="activity not found for ID: a"):
        await d.call("DeleteActivityExecution", request)
    await start(d)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activity_id": ""}, "activityId is not set"),
        ({"start_to_close_timeout": 0}, "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set"),
        ({"heartbeat_timeout": -1}, "invalid HeartbeatTimeout: negative duration"),
        ({"retry_policy": RetryPolicy(backoff_coefficient=0.5)}, "BackoffCoefficient cannot be less than 1"),
        ({"request_id": "x" * 1001}, "request ID exceeds length limit. Length=1001 Limit=1000"),
    ],
)
def test_a_start_that_the_server_would_refuse_is_refused(given: dict[str, Any], message: str) -> None:
    @in_engine
    async def refused(d: Driver) -> None:
        with pytest.raises(ServiceError, match=message) as error:
            await start(d, **given)
        assert error.value.code == Code.INVALID_ARGUMENT

    refused()
