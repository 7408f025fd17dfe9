"""Workflow tasks that fail, time out, stick, or are kept alive. TEMPORAL.md, section 7."""

from __future__ import annotations

from typing import Any

from temporalio.api.sdk.v1 import EventGroupMarker

from golden.commands import (
    SUMMARY,
    command,
    complete,
    marker,
    payload,
    schedule_activity,
    seconds,
    start_timer,
)
from golden.stage import Stage, script


@script
async def task_fails_and_then_completes(s: Stage) -> None:
    """The second attempt's events are written when it completes."""
    f = await s.start()
    await f.fail(await f.poll(), cause=23)
    await f.work(complete())


@script
async def task_fails_without_a_cause(s: Stage) -> None:
    f = await s.start()
    await f.fail(await f.poll())
    await f.work(complete())


@script
async def task_fails_three_times(s: Stage) -> None:
    """Only the first failure leaves an event."""
    f = await s.start()
    for _ in range(3):
        await f.fail(await f.poll())
    await f.work(start_timer("t", 0.1))
    await f.work(complete())


@script
async def task_fails_and_a_signal_comes(s: Stage) -> None:
    """It makes the next one a first attempt again."""
    f = await s.start()
    await f.fail(await f.poll())
    await f.signal()
    await f.work(complete())


@script
async def task_fails_while_a_signal_waits(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.signal()
    await f.fail(task)
    await f.work(complete())


@script
async def task_attempt_gets_a_signal_while_started(s: Stage) -> None:
    f = await s.start()
    await f.fail(await f.poll())
    task = await f.poll()
    await f.signal()
    await f.complete(task, start_timer())
    await f.work(complete())


@script
async def task_attempt_fails_while_a_signal_waits(s: Stage) -> None:
    f = await s.start()
    await f.fail(await f.poll())
    task = await f.poll()
    await f.signal()
    await f.fail(task)
    await f.work(complete())


@script
async def task_times_out(s: Stage) -> None:
    f = await s.start(workflow_task_timeout=seconds(0.5))
    await f.poll()
    await f.work(complete())


@script
async def task_times_out_twice(s: Stage) -> None:
    f = await s.start(workflow_task_timeout=seconds(0.5))
    await f.poll()
    await f.poll()
    await f.work(complete())


@script
async def task_times_out_while_a_signal_waits(s: Stage) -> None:
    f = await s.start(workflow_task_timeout=seconds(0.5))
    await f.poll()
    await f.signal()
    await f.work(complete())


@script
async def task_answers_come_too_late(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.fail(task)
    await f.refused(task, complete())
    await s.refused("RespondWorkflowTaskFailed", task_token=task.task_token, identity="worker")
    second = await f.poll()
    await f.terminate()
    await f.refused(second, complete())
    await s.refused("RespondWorkflowTaskFailed", task_token=second.task_token, identity="worker")


@script
async def task_sticks_to_its_worker(s: Stage) -> None:
    """The next one goes to the worker's own queue, with the events since the last one only."""
    f = await s.start()
    sticky = s.name("sticky")
    await f.work(start_timer("t", 1), sticky=sticky)
    task = await f.poll(sticky)
    await f.complete(task, complete())


@script
async def task_left_on_the_sticky_queue(s: Stage) -> None:
    f = await s.start()
    sticky = s.name("sticky")
    task = await f.poll()
    waiting = await s.begin(
        "PollWorkflowTaskQueue",
        task_queue={"name": sticky, "kind": 2, "normal_name": f.queue},
        identity="worker",
    )
    await f.complete(task, sticky=sticky, sticky_timeout=0.5, force_create_new_workflow_task=True)
    task = await waiting
    await f.complete(task, start_timer(), sticky=sticky, sticky_timeout=0.5)
    await f.signal()
    await f.work(complete())


@script
async def task_on_the_sticky_queue_fails(s: Stage) -> None:
    """The next one goes to the normal queue, still as a first attempt."""
    f = await s.start()
    sticky = s.name("sticky")
    await f.work(start_timer("t", 1), sticky=sticky)
    await f.fail(await f.poll(sticky))
    await f.work(complete())


@script
async def task_on_the_sticky_queue_times_out(s: Stage) -> None:
    f = await s.start(workflow_task_timeout=seconds(0.5))
    sticky = s.name("sticky")
    await f.work(start_timer("t", 1), sticky=sticky)
    await f.poll(sticky)
    await f.work(complete())


@script
async def task_loses_its_sticky_queue(s: Stage) -> None:
    f = await s.start()
    sticky = s.name("sticky")
    await f.work(start_timer(), sticky=sticky)
    await s.call("ResetStickyTaskQueue", execution=f.execution)
    await f.signal()
    await f.work(complete())


@script
async def task_asks_for_the_next_one(s: Stage) -> None:
    """A heartbeat of a long task."""
    f = await s.start()
    await f.work(force_create_new_workflow_task=True)
    await f.work(start_timer(), force_create_new_workflow_task=True)
    await f.work(complete())


@script
async def task_comes_with_the_answer(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    answer = await f.complete(
        task,
        sticky=s.name("sticky"),
        force_create_new_workflow_task=True,
        return_new_workflow_task=True,
    )
    await f.complete(answer.workflow_task, complete())


@script
async def task_comes_with_the_answer_for_what_waits(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.signal()
    answer = await f.complete(task, start_timer(), return_new_workflow_task=True)
    answer = await f.complete(answer.workflow_task, return_new_workflow_task=True)
    assert not answer.workflow_task.task_token
    await f.terminate()


@script
async def task_without_commands(s: Stage) -> None:
    f = await s.start()
    await f.work()
    await f.signal()
    await f.work()
    await f.terminate()


@script
async def task_tells_of_its_worker(s: Stage) -> None:
    f = await s.start()
    await f.work(
        start_timer("t", 0.1),
        binary_checksum="sum",
        sdk_metadata={"core_used_flags": [1, 2], "lang_used_flags": [3], "sdk_name": "x", "sdk_version": "1"},
        metering_metadata={"nonfirst_local_activity_execution_attempts": 3},
    )
    await f.work(complete())


@script
async def task_commands_after_the_end(s: Stage) -> None:
    """A command that closes the run must be the last one."""
    f = await s.start()
    task = await f.poll()
    await f.refused(task, complete(), start_timer())
    await f.terminate()


@script
async def task_ends_the_run_twice(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.refused(task, complete("one"), complete("two"))
    await f.terminate()


@script
async def task_commands_in_order(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("b"), schedule_activity(f, "x"), start_timer("a"), schedule_activity(f, "w"))
    await f.terminate()


@script
async def task_too_large(s: Stage) -> None:
    """A worker that could not send its answer: no later attempt would do better."""
    f = await s.start()
    await f.fail(await f.poll(), cause=36)
    await f.ended()


@script
async def task_of_a_worker_that_has_shut_down(s: Stage) -> None:
    f = await s.start()
    sticky = s.name("sticky")
    await f.work(start_timer("t", 0.3), sticky=sticky)
    await f.complete(await f.poll(sticky), sticky=sticky)
    await s.call("ShutdownWorker", sticky_task_queue=sticky, identity="worker", worker_instance_key="w")
    await f.signal()
    await f.work(complete())


@script
async def task_with_more_than_it_can_hold(s: Stage) -> None:
    """A hundred events may wait for its end; one more ends it."""
    f = await s.start()
    await f.poll()
    for _ in range(101):
        await f.signal()
    await f.work(complete())


@script
async def task_kept_alive_with_markers(s: Stage) -> None:
    f = await s.start()
    await f.work(marker("core_local_activity"), force_create_new_workflow_task=True)
    await f.work(marker("core_local_activity"), complete())


@script
async def task_commands_have_metadata(s: Stage) -> None:
    """Summaries and groups of events go from the commands to the events."""
    f = await s.start()
    more: dict[str, Any] = {
        "user_metadata": SUMMARY,
        "event_group_markers": [EventGroupMarker(label=EventGroupMarker.Label(id="g"))],
    }
    await f.work(
        schedule_activity(f, **more),
        start_timer("t", 60, **more),
        marker("m", **more),
        command("MODIFY_WORKFLOW_PROPERTIES", upserted_memo={"fields": {"m": payload(1)}}, **more),
        command("CANCEL_TIMER", timer_id="t", **more),
        command("REQUEST_CANCEL_ACTIVITY_TASK", scheduled_event_id=5, **more),
        command("COMPLETE_WORKFLOW_EXECUTION", **more),
    )
