"""Activities: every way in which one can end, and what the history says of it. TEMPORAL.md, section 8."""

from __future__ import annotations

from golden.commands import (
    SUMMARY,
    cancel_activity,
    complete,
    failure,
    payloads,
    retry,
    schedule_activity,
    seconds,
    start_timer,
)
from golden.stage import Stage, script


@script
async def activity_completes(s: Stage) -> None:
    f = await s.start()
    await f.work(
        schedule_activity(f, input=payloads(1, "two"), header={"fields": {"h": payloads("x").payloads[0]}})
    )
    await f.activity_done(await f.activity())
    await f.work(complete("bye"))


@script
async def activity_fails_for_good(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(1)))
    await f.activity_failed(await f.activity())
    await f.work(complete())


@script
async def activity_retried(s: Stage) -> None:
    """The second attempt completes; the Started event tells of it and of the last failure."""
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry()))
    await f.activity_failed(await f.activity())
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_attempts_used_up(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(2)))
    await f.activity_failed(await f.activity())
    await f.activity_failed(await f.activity(), failure("again"))
    await f.work(complete())


@script
async def activity_not_retryable(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.activity_failed(await f.activity(), failure(non_retryable=True))
    await f.work(complete())


@script
async def activity_type_not_retryable(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(non_retryable_error_types=["ValueError"])))
    await f.activity_failed(await f.activity())
    await f.work(complete())


@script
async def activity_next_retry_delay(s: Stage) -> None:
    """The failure's own delay counts, not the policy's hour."""
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(initial=3600)))
    await f.activity_failed(await f.activity(), failure(next_retry_delay=seconds(0.1)))
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_start_to_close_timeout(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, start_to_close_timeout=0.3, retry_policy=retry(3)))
    await f.activity()
    await f.activity()
    await f.heartbeat(await f.activity(), "half")
    await f.work(complete())


@script
async def activity_schedule_to_start_timeout(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, schedule_to_start_timeout=0.3))
    await f.work(complete())


@script
async def activity_schedule_to_close_timeout(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, schedule_to_close_timeout=0.5))
    await f.activity()
    await f.work(complete())


@script
async def activity_canceled_before_it_started(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.signal()
    await f.work(cancel_activity(5))
    await f.work(complete())


@script
async def activity_heartbeat_timeout(s: Stage) -> None:
    """What was reported last stands in the timeout, and reaches the next attempt."""
    f = await s.start()
    await f.work(schedule_activity(f, heartbeat_timeout=0.5, retry_policy=retry(2)))
    await f.heartbeat(await f.activity(), "half", "way")
    await f.activity()
    await f.work(complete())


@script
async def activity_heartbeat_timeout_not_retryable(s: Stage) -> None:
    f = await s.start()
    policy = retry(non_retryable_error_types=["TemporalTimeout:Heartbeat"])
    await f.work(schedule_activity(f, heartbeat_timeout=0.3, retry_policy=policy))
    await f.activity()
    await f.work(complete())


@script
async def activity_timeout_not_retryable(s: Stage) -> None:
    f = await s.start()
    policy = retry(non_retryable_error_types=["TemporalTimeout:StartToClose"])
    await f.work(schedule_activity(f, start_to_close_timeout=0.3, retry_policy=policy))
    await f.activity()
    await f.work(complete())


@script
async def activity_without_time_for_a_retry(s: Stage) -> None:
    """The attempt times out, and the next one would begin too late: that is a timeout of the whole."""
    f = await s.start()
    await f.work(
        schedule_activity(
            f, start_to_close_timeout=0.3, schedule_to_close_timeout=5, retry_policy=retry(initial=60)
        )
    )
    await f.activity()
    await f.work(complete())


@script
async def activity_failed_without_time_for_a_retry(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, schedule_to_close_timeout=5, retry_policy=retry(initial=60)))
    await f.activity_failed(await f.activity())
    await f.work(complete())


@script
async def activity_times_out_while_it_waits_for_its_retry(s: Stage) -> None:
    f = await s.start()
    await f.work(
        schedule_activity(
            f, schedule_to_close_timeout=2.5, schedule_to_start_timeout=2.5, retry_policy=retry(initial=2)
        )
    )
    await f.activity_failed(await f.activity(), last_heartbeat_details=payloads("half"))
    await f.work(complete())


@script
async def activity_heartbeat_details_of_a_failure(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry()))
    task = await f.activity()
    await f.heartbeat(task, "one")
    await f.activity_failed(task, last_heartbeat_details=payloads("two"))
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_fails_with_a_cause(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(2)))
    await f.activity_failed(
        await f.activity(), {**failure("outer"), "stack_trace": "here", "cause": failure("inner", "KeyError")}
    )
    await f.activity_failed(await f.activity(), failure("last", "OSError", details=payloads({"a": 1})))
    await f.work(complete())


@script
async def activity_fails_without_a_failure(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(1)))
    task = await f.activity()
    await s.call("RespondActivityTaskFailed", task_token=task.task_token, identity="worker")
    await f.work(complete())


@script
async def activity_fails_with_another_failure(s: Stage) -> None:
    """A worker's failure is an application's, or none at all."""
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(3)))
    task = await f.activity()
    for info in ("server_failure_info", "canceled_failure_info", "timeout_failure_info"):
        await s.refused(
            "RespondActivityTaskFailed",
            task_token=task.task_token,
            failure={"message": "odd", info: {}},
            identity="worker",
        )
    await f.terminate()


@script
async def activity_cancel_reaches_the_worker(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    task = await f.activity()
    await f.signal()
    await f.work(cancel_activity(5))
    await f.heartbeat(task, "asked")
    await f.activity_canceled(task, details=payloads("stopped"))
    await f.work(complete())


@script
async def activity_completes_in_spite_of_a_cancel(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    task = await f.activity()
    await f.signal()
    await f.work(cancel_activity(5))
    await f.activity_done(task)
    await f.work(complete())


@script
async def activity_fails_after_a_cancel(s: Stage) -> None:
    """It is not tried again."""
    f = await s.start()
    await f.work(schedule_activity(f))
    task = await f.activity()
    await f.signal()
    await f.work(cancel_activity(5))
    await f.activity_failed(task)
    await f.work(complete())


@script
async def activity_times_out_after_a_cancel(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, start_to_close_timeout=1))
    await f.activity()
    await f.signal()
    await f.work(cancel_activity(5))
    await f.work(complete())


@script
async def activity_canceled_while_it_waits_for_its_retry(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(initial=60)))
    await f.activity_failed(await f.activity())
    await f.signal()
    await f.work(cancel_activity(5))
    await f.work(complete())


@script
async def activity_canceled_without_a_request(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    task = await f.activity()
    await s.refused("RespondActivityTaskCanceled", task_token=task.task_token, identity="worker")
    await f.activity_done(task)
    await f.work(complete())


@script
async def activity_scheduled_and_canceled_at_once(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f), cancel_activity(5))
    await f.work(complete())


@script
async def activity_cancel_when_its_end_waits_in_the_buffer(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    activity = await f.activity()
    await f.signal()
    task = await f.poll()
    await f.activity_done(activity)
    await f.complete(task, cancel_activity(5))
    await f.work(complete())


@script
async def activities_end_while_a_task_is_started(s: Stage) -> None:
    """What ends goes behind what else arrived, in the order of arrival."""
    f = await s.start()
    await f.work(schedule_activity(f, "a"), start_timer("t", 0.1))
    one = await f.activity()
    await f.work(schedule_activity(f, "b", retry_policy=retry(1)))
    other = await f.activity()
    await f.signal("first")
    task = await f.poll()
    await f.activity_failed(other)
    await f.signal("second")
    await f.activity_done(one)
    await f.signal("third")
    await f.complete(task)
    await f.work(complete())


@script
async def activity_completed_by_id(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.activity()
    await s.call(
        "RespondActivityTaskCompletedById",
        workflow_id=f.id,
        activity_id="a",
        result=payloads("from afar"),
    )
    await f.work(complete())


@script
async def activity_completed_by_id_before_it_started(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await s.call(
        "RespondActivityTaskCompletedById", workflow_id=f.id, activity_id="a", result=payloads("from afar")
    )
    await f.work(complete())


@script
async def activity_failed_by_id(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(2)))
    await f.activity()
    await s.call("RecordActivityTaskHeartbeatById", workflow_id=f.id, activity_id="a", details=payloads("x"))
    await s.call("RespondActivityTaskFailedById", workflow_id=f.id, activity_id="a", failure=failure())
    await f.activity()
    await s.call("RespondActivityTaskFailedById", workflow_id=f.id, activity_id="a", failure=failure())
    await f.work(complete())


@script
async def activity_canceled_by_id(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.activity()
    await s.refused("RespondActivityTaskCanceledById", workflow_id=f.id, activity_id="a")
    await f.signal()
    await f.work(cancel_activity(5))
    await s.call(
        "RespondActivityTaskCanceledById", workflow_id=f.id, activity_id="a", details=payloads("bye")
    )
    await f.work(complete())


@script
async def activity_unknown_by_id(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    for rpc in (
        "RespondActivityTaskCompletedById",
        "RespondActivityTaskFailedById",
        "RespondActivityTaskCanceledById",
        "RecordActivityTaskHeartbeatById",
    ):
        await s.refused(rpc, workflow_id=f.id, activity_id="unknown")
        await s.refused(rpc, workflow_id=s.name("nobody"), activity_id="a")
    await f.terminate()


@script
async def activity_answers_come_too_late(s: Stage) -> None:
    """Of an attempt that is over, and of a run that is closed."""
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry()))
    first = await f.activity()
    await f.activity_failed(first)
    second = await f.activity()
    for rpc in ("RespondActivityTaskCompleted", "RespondActivityTaskFailed", "RecordActivityTaskHeartbeat"):
        await s.refused(rpc, task_token=first.task_token, identity="worker")
    await f.terminate()
    for rpc in (
        "RespondActivityTaskCompleted",
        "RespondActivityTaskFailed",
        "RespondActivityTaskCanceled",
        "RecordActivityTaskHeartbeat",
    ):
        await s.refused(rpc, task_token=second.task_token, identity="worker")
    await s.refused("RespondActivityTaskCompletedById", workflow_id=f.id, activity_id="a")


@script
async def activity_answered_twice(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    task = await f.activity()
    await f.activity_done(task)
    await s.refused("RespondActivityTaskCompleted", task_token=task.task_token, identity="worker")
    await s.refused("RecordActivityTaskHeartbeat", task_token=task.task_token, identity="worker")
    await f.work(complete())


@script
async def activity_eager(s: Stage) -> None:
    """It comes with the answer to the workflow task."""
    f = await s.start()
    task = await f.poll()
    answer = await f.complete(task, schedule_activity(f, request_eager_execution=True))
    await f.activity_done(answer.activity_tasks[0])
    await f.work(complete())


@script
async def activity_eager_and_canceled_at_once(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, request_eager_execution=True), cancel_activity(5))
    await f.work(complete())


@script
async def activity_eager_and_the_workflow_completes(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, request_eager_execution=True), complete())


@script
async def activity_timeouts_complete_each_other(s: Stage) -> None:
    """What is not given follows from what is; nothing is longer than the run."""
    f = await s.start(workflow_run_timeout=seconds(100))
    await f.work(
        schedule_activity(f, "a", start_to_close_timeout=5),
        schedule_activity(f, "b", schedule_to_close_timeout=20),
        schedule_activity(f, "c", schedule_to_close_timeout=20, start_to_close_timeout=50),
        schedule_activity(f, "d", schedule_to_close_timeout=20, schedule_to_start_timeout=30),
        schedule_activity(f, "e", start_to_close_timeout=500, heartbeat_timeout=200),
        schedule_activity(f, "f", schedule_to_close_timeout=20, heartbeat_timeout=50),
        schedule_activity(f, "g", start_to_close_timeout=7, schedule_to_start_timeout=300),
        complete(),
    )


@script
async def activity_timeouts_without_a_run_timeout(s: Stage) -> None:
    f = await s.start()
    await f.work(
        schedule_activity(f, "b", schedule_to_close_timeout=20),
        schedule_activity(f, "c", schedule_to_close_timeout=20, start_to_close_timeout=50),
        schedule_activity(f, "e", start_to_close_timeout=500, heartbeat_timeout=900),
        schedule_activity(f, "g", start_to_close_timeout=7, schedule_to_start_timeout=300),
        complete(),
    )


@script
async def activity_retry_policy_is_completed(s: Stage) -> None:
    f = await s.start()
    await f.work(
        schedule_activity(f, "a"),
        schedule_activity(f, "b", retry_policy={"maximum_attempts": 1}),
        schedule_activity(f, "c", retry_policy={"initial_interval": seconds(7)}),
        schedule_activity(f, "d", retry_policy={"maximum_interval": seconds(7), "backoff_coefficient": 3}),
        schedule_activity(f, "e", retry_policy={"non_retryable_error_types": ["A", "B"]}),
        complete(),
    )


@script
async def activity_id_is_free_again(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.activity_done(await f.activity())
    await f.work(schedule_activity(f))
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_with_a_summary_and_a_priority(s: Stage) -> None:
    f = await s.start(priority={"priority_key": 2, "fairness_key": "k", "fairness_weight": 2})
    await f.work(schedule_activity(f, user_metadata=SUMMARY))
    await f.activity_done(await f.activity())
    await f.work(schedule_activity(f, "b", priority={"priority_key": 4}))
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_result_arrives_with_a_signal(s: Stage) -> None:
    """Both before the next task is taken: one task for both."""
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.activity_done(await f.activity())
    await f.signal()
    await f.work(complete())
