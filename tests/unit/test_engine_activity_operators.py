"""Operators and pending activities: pause, unpause, reset, changed options. TEMPORAL.md, section 18."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import pytest
from engine_driver import Driver, application_failure, in_engine, payload, schedule_activity
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import RetryPolicy, WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    PauseActivityRequest,
    RecordActivityTaskHeartbeatRequest,
    ResetActivityRequest,
    RespondActivityTaskFailedByIdRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration, from_duration
from perdure.engine.recovery import recover
from perdure.engine.state import Activity

_State = PendingActivityState
SLOW = RetryPolicy(initial_interval=duration(20 * SECOND))
MEMORY_ONLY = {"stamp", "offered"}  # what tells stale offers from good ones


async def pause(d: Driver, **fields: Any) -> None:
    await _call(d, "PauseActivity", PauseActivityRequest, fields)


async def unpause(d: Driver, **fields: Any) -> None:
    await _call(d, "UnpauseActivity", UnpauseActivityRequest, fields)


async def reset(d: Driver, **fields: Any) -> None:
    await _call(d, "ResetActivity", ResetActivityRequest, fields)


async def update(d: Driver, *paths: str, options: ActivityOptions | None = None, **fields: Any) -> Any:
    if paths:
        fields["update_mask"] = FieldMask(paths=paths)
    if options is not None:
        fields["activity_options"] = options
    return await _call(d, "UpdateActivityOptions", UpdateActivityOptionsRequest, fields)


async def _call(d: Driver, method: str, request: Any, fields: dict[str, Any]) -> Any:
    fields = fields or {"id": "1"}
    if not {"id", "type", "match_all", "unpause_all"} & fields.keys():
        fields["id"] = "1"
    execution = WorkflowExecution(workflow_id="w")
    answer = await d.call(method, request(namespace="default", execution=execution, identity="op", **fields))
    await assert_recoverable(d)
    return answer


async def assert_recoverable(d: Driver) -> None:
    """What is in the journal is what is in memory."""
    run = d.run()
    records = await d.journal.read_run(run.ex.run_id)
    assert records is not None
    again = recover(copy.deepcopy(records))
    assert {i: shape(a) for i, a in again.activities.items()} == {
        i: shape(a) for i, a in run.ex.activities.items()
    }
    assert again.search_attributes == run.ex.search_attributes


def shape(activity: Activity) -> dict[str, object]:
    return {f.name: getattr(activity, f.name) for f in fields(activity) if f.name not in MEMORY_ONLY}


async def pending(d: Driver, activity_id: str = "1") -> PendingActivityInfo:
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id = "w"
    described = await d.call("DescribeWorkflowExecution", request)
    [info] = [info for info in described.pending_activities if info.activity_id == activity_id]
    return info  # type: ignore[no-any-return]


async def heartbeat(d: Driver, token: bytes) -> Any:
    request = RecordActivityTaskHeartbeatRequest(
        namespace="default", task_token=token, details=payload("half")
    )
    return await d.call("RecordActivityTaskHeartbeat", request)


@in_engine
async def test_a_paused_activity_is_not_dispatched_until_it_is_unpaused(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity("1"), schedule_activity("2"))
    await pause(d, reason="why", request_id="r")
    info = await pending(d)
    assert info.state == _State.PENDING_ACTIVITY_STATE_PAUSED
    assert (info.pause_info.manual.identity, info.pause_info.manual.reason) == ("op", "why")
    assert (await d.activity_task()).activity_id == "2"
    await unpause(d)
    assert (await d.activity_task()).activity_id == "1"
    assert (await pending(d)).state == _State.PENDING_ACTIVITY_STATE_STARTED


@in_engine
async def test_a_second_pause_is_refused_unless_it_is_the_same_request(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await pause(d, request_id="r")
    await pause(d, request_id="r")
    with pytest.raises(ServiceError, match="already paused") as refused:
        await pause(d, request_id="other")
    assert refused.value.code == Code.FAILED_PRECONDITION


@in_engine
async def test_a_running_attempt_of_a_paused_activity_goes_on_and_is_not_followed_by_another(
    d: Driver,
) -> None:
    await d.start()
    await d.step(schedule_activity(policy=RetryPolicy(maximum_attempts=1)))
    task = await d.activity_task()
    await pause(d)
    assert (await pending(d)).state == _State.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
    assert (await heartbeat(d, task.task_token)).activity_paused
    d.clock.advance(3600)  # no timer runs
    await d.fail_activity(task)
    await assert_recoverable(d)
    info = await pending(d)
    assert (info.state, info.attempt) == (_State.PENDING_ACTIVITY_STATE_PAUSED, 2)
    await unpause(d)
    assert (await d.activity_task()).attempt == 2  # one too many; the pause came before it was counted


@in_engine
async def test_a_failure_that_is_not_retried_ends_a_paused_activity_too(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    task = await d.activity_task()
    await pause(d)
    await d.fail_activity(task, application_failure(non_retryable=True))
    assert "ActivityTaskFailed" in await d.names()


@in_engine
async def test_unpausing_can_reset_attempts_and_heartbeat(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    task = await d.activity_task()
    await heartbeat(d, task.task_token)
    await pause(d)
    await d.fail_activity(task)
    await unpause(d, unpause_all=True, reset_attempts=True, reset_heartbeat=True)
    again = await d.activity_task()
    assert again.attempt == 1
    assert not again.heartbeat_details.payloads


@in_engine
async def test_lists_show_the_types_of_paused_activities(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await pause(d)
    shown = d.run().ex.search_attributes.indexed_fields["TemporalPauseInfo"]
    assert shown.data == b'["property:activityType=act"]'
    await unpause(d)
    assert "TemporalPauseInfo" not in d.run().ex.search_attributes.indexed_fields


@in_engine
async def test_a_reset_while_it_backs_off_starts_the_first_attempt_now(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(policy=SLOW))
    await d.fail_activity(await d.activity_task())
    waiting = await pending(d)
    assert (waiting.attempt, from_duration(waiting.current_retry_interval)) == (2, 20 * SECOND)
    before = d.clock.now()
    await reset(d)
    task = await d.activity_task()
    assert (task.attempt, d.clock.now()) == (1, before)


@in_engine
async def test_a_running_attempt_hears_of_a_reset_and_a_later_one_loses_its_token(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    first = await d.activity_task()
    await reset(d, reset_heartbeat=True)
    assert (await heartbeat(d, first.task_token)).activity_reset
    await d.fail_activity(first)
    await assert_recoverable(d)
    second = await d.activity_task()
    assert (second.attempt, len(second.heartbeat_details.payloads)) == (2, 0)
    await reset(d)  # the attempt's number becomes 1: what the worker holds is stale
    with pytest.raises(ServiceError) as gone:
        await heartbeat(d, second.task_token)
    assert gone.value.code == Code.NOT_FOUND


@in_engine
async def test_the_end_of_an_attempt_bears_the_number_that_it_began_with(d: Driver) -> None:
    run_id = await d.start()
    await d.step(schedule_activity())
    await d.fail_activity(await d.activity_task())
    await d.activity_task()
    await reset(d)
    request = RespondActivityTaskFailedByIdRequest(namespace="default", workflow_id="w", activity_id="1")
    await d.call("RespondActivityTaskFailedById", request)
    assert (await d.activity_task()).attempt == 2
    await assert_recoverable(d)
    records = await d.journal.read_run(run_id)
    assert records is not None
    assert [start.attempt for start in records.attempt_starts] == [1, 2, 2]
    assert [end.attempt for end in records.attempt_ends] == [1, 2]


@in_engine
async def test_a_reset_can_leave_an_activity_paused(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    task = await d.activity_task()
    await pause(d)
    await d.fail_activity(task)
    await reset(d, match_all=True, keep_paused=True)
    info = await pending(d)
    assert (info.state, info.attempt) == (_State.PENDING_ACTIVITY_STATE_PAUSED, 1)
    await reset(d, type="act")
    assert (await d.activity_task()).attempt == 1


@in_engine
async def test_options_are_changed_by_a_mask_and_completed_as_when_they_are_scheduled(d: Driver) -> None:
    await d.start()
    timeouts = {"schedule_to_close_timeout": 300, "heartbeat_timeout": 20}
    await d.step(schedule_activity(start_to_close=60, timeouts=timeouts))
    wanted = ActivityOptions(start_to_close_timeout=duration(7 * SECOND))
    wanted.priority.fairness_key = "f"
    answer = await update(d, "start_to_close_timeout", "priority.fairnessKey", options=wanted)
    options = answer.activity_options
    assert from_duration(options.start_to_close_timeout) == 7 * SECOND
    assert from_duration(options.heartbeat_timeout) == 7 * SECOND
    assert from_duration(options.schedule_to_close_timeout) == 300 * SECOND
    assert options.priority.fairness_key == "f"
    restored = (await update(d, restore_original=True)).activity_options
    assert from_duration(restored.start_to_close_timeout) == 60 * SECOND
    assert not restored.HasField("priority")


@in_engine
async def test_a_changed_retry_policy_moves_the_attempt_that_is_waited_for(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(policy=RetryPolicy(initial_interval=duration(3600 * SECOND))))
    await d.fail_activity(await d.activity_task())
    before = d.clock.now()
    policy = RetryPolicy(initial_interval=duration(2 * SECOND))
    await update(d, "retry_policy.initial_interval", options=ActivityOptions(retry_policy=policy))
    await d.activity_task()
    assert d.clock.now() - before == 4 * SECOND  # Temporal counts the attempt to come


@in_engine
async def test_a_new_timeout_counts_for_the_running_attempt(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(start_to_close=3600))
    await d.activity_task()
    before = d.clock.now()
    await update(
        d,
        "start_to_close_timeout",
        options=ActivityOptions(start_to_close_timeout=duration(5 * SECOND)),
    )
    assert (await d.activity_task()).attempt == 2
    assert d.clock.now() - before == 6 * SECOND


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ((), None, "ActivityOptions are not provided"),
        ((), ActivityOptions(), "UpdateMask is not provided"),
        (("task_queue.name",), ActivityOptions(), "TaskQueue is not provided"),
        (("retry_policy.maximum_attempts",), ActivityOptions(), "RetryPolicy is not provided"),
        (("start_to_close_timeout",), ActivityOptions(), "a valid StartToCloseTimeout"),
        (
            ("heartbeat_timeout",),
            ActivityOptions(heartbeat_timeout=duration(-SECOND)),
            "invalid HeartbeatTimeout: negative duration",
        ),
    ],
)
def test_options_that_no_activity_may_have_are_refused(
    paths: tuple[str, ...], options: ActivityOptions | None, message: str
) -> None:
    @in_engine
    async def refused(d: Driver) -> None:
        await d.start()
        await d.step(schedule_activity())
        with pytest.raises(ServiceError, match=message) as error:
            await update(d, *paths, options=options)
        assert error.value.code == Code.INVALID_ARGUMENT

    refused()


@in_engine
async def test_an_activity_that_is_not_there_is_not_found(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    for ask in (pause, unpause, reset):
        with pytest.raises(ServiceError, match="Can't find pending activity") as error:
            await ask(d, id="nope")
        assert error.value.code == Code.NOT_FOUND


@in_engine
async def test_what_operators_did_outlives_a_crash(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(policy=SLOW))
    await d.fail_activity(await d.activity_task())
    await pause(d)
    successor = await d.crash()
    try:
        assert (await pending(successor)).state == _State.PENDING_ACTIVITY_STATE_PAUSED
        await unpause(successor)
        assert (await successor.activity_task()).attempt == 2
    finally:
        await successor.engine.stop()
