"""Activities: what workers, clocks and workflows do to them. TEMPORAL.md, section 8."""

from __future__ import annotations

import os

import pytest
from engine_driver import (
    Driver,
    application_failure,
    cancel_activity,
    complete_workflow,
    in_engine,
    only,
    schedule_activity,
)
from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedByIdRequest,
)

from perdure.engine.activities import start_attempt
from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration
from perdure.engine.records import AttemptEnded, AttemptStarted


@in_engine
async def test_a_completed_activity_leaves_one_started_and_one_completed_event(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await d.complete_activity(await d.activity_task())
    await d.step(complete_workflow())
    assert await d.names() == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "ActivityTaskScheduled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]
    completed = only(await d.history(), "ActivityTaskCompleted").activity_task_completed_event_attributes
    assert (completed.scheduled_event_id, completed.started_event_id) == (5, 6)


@in_engine
async def test_failed_attempts_back_off_and_leave_no_events(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    begun = d.clock.now()
    starts = []
    for attempt in (1, 2, 3):
        task = await d.activity_task()
        assert task.attempt == attempt
        starts.append(d.clock.now() - begun)
        await (d.complete_activity(task) if attempt == 3 else d.fail_activity(task))
    assert starts == [0, 1 * SECOND, 3 * SECOND]
    started = only(await d.history(), "ActivityTaskStarted").activity_task_started_event_attributes
    assert started.attempt == 3
    assert started.last_failure.message == "boom"


@in_engine
async def test_attempts_are_recorded_one_by_one(d: Driver) -> None:
    run_id = await d.start()
    await d.step(schedule_activity(policy=RetryPolicy(maximum_attempts=2)))
    await d.fail_activity(await d.activity_task())
    await d.fail_activity(await d.activity_task())
    records = await d.journal.read_run(run_id)
    assert records is not None
    assert [(s.attempt, s.identity) for s in records.attempt_starts] == [(1, "worker"), (2, "worker")]
    assert [(e.attempt, e.outcome) for e in records.attempt_ends] == [(1, "failed"), (2, "failed")]
    assert records.attempt_ends[0].next_attempt_time == records.attempt_ends[0].ended_time + SECOND
    assert records.attempt_ends[1].next_attempt_time is None


@in_engine
async def test_the_last_attempt_fails_the_activity(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(policy=RetryPolicy(maximum_attempts=1)))
    await d.fail_activity(await d.activity_task())
    failed = only(await d.history(), "ActivityTaskFailed").activity_task_failed_event_attributes
    assert failed.retry_state == RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED


@pytest.mark.parametrize(
    "policy, failure",
    [
        (RetryPolicy(non_retryable_error_types=["ValueError"]), application_failure()),
        (RetryPolicy(), application_failure(non_retryable=True)),
    ],
)
def test_what_is_not_retryable_is_not_retried(policy: RetryPolicy, failure: object) -> None:
    @in_engine
    async def test(d: Driver) -> None:
        await d.start()
        await d.step(schedule_activity(policy=policy))
        await d.fail_activity(await d.activity_task(), failure)  # type: ignore[arg-type]
        failed = only(await d.history(), "ActivityTaskFailed").activity_task_failed_event_attributes
        assert failed.retry_state == RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE

    test()


@in_engine
async def test_next_retry_delay_of_the_failure_overrides_the_policy(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(policy=RetryPolicy(maximum_interval=duration(2 * SECOND))))
    failure = application_failure()
    failure.application_failure_info.next_retry_delay.CopyFrom(duration(60 * SECOND))
    task = await d.activity_task()
    failed = d.clock.now()
    await d.fail_activity(task, failure)
    await d.activity_task()
    assert d.clock.now() - failed == 60 * SECOND


@in_engine
async def test_an_unanswered_attempt_times_out_and_is_retried(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(start_to_close=5))
    stale = await d.activity_task()
    begun = d.clock.now()
    assert (await d.activity_task()).attempt == 2
    assert d.clock.now() - begun == 6 * SECOND
    with pytest.raises(ServiceError) as refused:
        await d.complete_activity(stale)
    assert refused.value.code == Code.NOT_FOUND


@in_engine
async def test_schedule_to_start_is_not_retried(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(timeouts={"schedule_to_start_timeout": 3}))
    await d.workflow_task()
    timed_out = only(await d.history(), "ActivityTaskTimedOut").activity_task_timed_out_event_attributes
    info = timed_out.failure.timeout_failure_info
    assert info.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    assert timed_out.started_event_id == 0


@in_engine
async def test_a_retry_that_would_come_too_late_ends_the_activity_as_schedule_to_close(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(start_to_close=4, timeouts={"schedule_to_close_timeout": 5}))
    await d.activity_task()
    await d.workflow_task()
    timed_out = only(await d.history(), "ActivityTaskTimedOut").activity_task_timed_out_event_attributes
    assert timed_out.retry_state == RetryState.RETRY_STATE_TIMEOUT
    failure = timed_out.failure
    assert failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
    assert failure.cause.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE


@in_engine
async def test_heartbeats_hold_off_the_timeout_and_reach_the_next_attempt(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(start_to_close=100, timeouts={"heartbeat_timeout": 5}))
    task = await d.activity_task()
    begun = d.clock.now()
    with d.clock.held():
        for _ in range(3):
            d.clock.advance(4 * SECOND)
            beat = RecordActivityTaskHeartbeatRequest(task_token=task.task_token)
            beat.details.payloads.add(data=b"7")
            response = await d.call("RecordActivityTaskHeartbeat", beat)
            assert not response.cancel_requested
    again = await d.activity_task()
    assert again.attempt == 2
    assert again.heartbeat_details.payloads[0].data == b"7"
    assert d.clock.now() - begun == (12 + 5 + 1) * SECOND


@in_engine
async def test_cancelling_a_waiting_activity_cancels_it_at_once(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await d.signal()
    await d.step(cancel_activity(5))
    names = await d.names()
    assert names[-3:] == ["ActivityTaskCancelRequested", "ActivityTaskCanceled", "WorkflowTaskScheduled"]


@in_engine
async def test_a_running_activity_learns_of_cancellation_by_heartbeat(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    task = await d.activity_task()
    with pytest.raises(ServiceError) as early:
        await d.call(
            "RespondActivityTaskCanceled", RespondActivityTaskCanceledRequest(task_token=task.task_token)
        )
    assert early.value.code == Code.INVALID_ARGUMENT
    await d.signal()
    await d.step(cancel_activity(5))
    response = await d.call(
        "RecordActivityTaskHeartbeat", RecordActivityTaskHeartbeatRequest(task_token=task.task_token)
    )
    assert response.cancel_requested
    await d.call(
        "RespondActivityTaskCanceled", RespondActivityTaskCanceledRequest(task_token=task.task_token)
    )
    canceled = only(await d.history(), "ActivityTaskCanceled").activity_task_canceled_event_attributes
    requested = only(await d.history(), "ActivityTaskCancelRequested")
    assert canceled.latest_cancel_requested_event_id == requested.event_id


@in_engine
async def test_completion_by_id_works_before_any_worker_took_the_activity(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity("outside"))
    request = RespondActivityTaskCompletedByIdRequest(
        namespace="default", workflow_id="w", activity_id="outside"
    )
    await d.call("RespondActivityTaskCompletedById", request)
    assert "ActivityTaskCompleted" in await d.names()
    with pytest.raises(ServiceError) as again:
        await d.call("RespondActivityTaskCompletedById", request)
    assert again.value.code == Code.NOT_FOUND


@in_engine
async def test_an_eager_activity_comes_with_the_answer(d: Driver) -> None:
    await d.start()
    response = await d.complete(await d.workflow_task(), schedule_activity(eager=True))
    [task] = response.activity_tasks
    await d.complete_activity(task)
    assert "ActivityTaskCompleted" in await d.names()


@in_engine
async def test_outcomes_that_arrive_during_a_workflow_task_come_last_with_patched_ids(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity("1"), schedule_activity("2"))
    first, second = await d.activity_task(), await d.activity_task()
    await d.signal("a")
    task = await d.workflow_task()
    await d.complete_activity(first)
    await d.signal("b")
    await d.complete_activity(second)
    await d.complete(task)
    names = await d.names()
    assert names[-7:] == [
        "WorkflowTaskCompleted",
        "ActivityTaskStarted",
        "WorkflowExecutionSignaled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
    ]
    events = {event.event_id: event for event in await d.history()}
    for event in events.values():
        if event.HasField("activity_task_completed_event_attributes"):
            closing = event.activity_task_completed_event_attributes
            started = events[closing.started_event_id].activity_task_started_event_attributes
            assert started.scheduled_event_id == closing.scheduled_event_id


@in_engine
async def test_a_crash_keeps_attempts_failures_and_back_off(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity())
    await d.fail_activity(await d.activity_task())
    after = await d.crash()
    activity = next(iter(after.run().ex.activities.values()))
    assert (activity.attempt, activity.started) == (2, False)
    assert activity.last_failure is not None
    task = await after.activity_task()
    assert task.attempt == 2
    await after.complete_activity(task)
    await after.engine.stop()


@in_engine
async def test_the_attempt_of_a_process_that_is_gone_is_lost_and_tried_again_at_once(d: Driver) -> None:
    gone = f"perdure-{2**22 + 1}-00000000@{os.uname().nodename}"  # beyond the largest pid that Linux gives
    run_id = await d.start()
    await d.step(schedule_activity(start_to_close=3600))
    activity = next(iter(d.run().ex.activities.values()))
    turn = d.engine.turn(d.run())
    start_attempt(turn, activity, gone, gone)
    d.engine.commit(turn)
    before = d.clock.now()
    after = await d.crash()
    task = await after.activity_task()
    assert (task.attempt, after.clock.now()) == (2, before)
    records = await after.journal.read_run(run_id)
    assert records is not None
    assert [type(r) for r in (*records.attempt_starts, *records.attempt_ends)] == [
        AttemptStarted,
        AttemptStarted,
        AttemptEnded,
    ]
    assert records.attempt_ends[0].outcome == "lost"
    await after.engine.stop()


@in_engine
async def test_only_activities_of_the_own_queue_can_keep_to_the_workflows_build(d: Driver) -> None:
    elsewhere = schedule_activity()
    attributes = elsewhere.schedule_activity_task_command_attributes
    attributes.use_workflow_build_id = True
    attributes.task_queue.name = "another"
    await d.start()
    with pytest.raises(ServiceError, match="cannot run on different task queue"):
        await d.step(elsewhere)
