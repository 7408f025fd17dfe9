"""How runs end, and what goes on after them. TEMPORAL.md, section 11."""

from __future__ import annotations

from golden.commands import (
    SUMMARY,
    cancel,
    complete,
    continue_as_new,
    fail,
    failure,
    payload,
    payloads,
    retry,
    schedule_activity,
    seconds,
    start_timer,
    upsert_memo,
)
from golden.stage import Stage, script


@script
async def run_completes(s: Stage) -> None:
    f = await s.start()
    await f.work(complete("one", {"two": 2}))


@script
async def run_fails(s: Stage) -> None:
    f = await s.start()
    await f.work(fail(message="bad", details=payloads("x")))


@script
async def run_is_canceled(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.cancel(reason="enough")
    await f.work(cancel("bye"))


@script
async def run_is_asked_to_cancel_twice(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.cancel(reason="first")
    await f.cancel(reason="second")
    await f.cancel(reason="first", request_id="request-2")
    await f.work(complete())
    await f.cancel(reason="closed")
    await s.refused("RequestCancelWorkflowExecution", workflow_execution={"workflow_id": s.name("nobody")})


@script
async def run_is_asked_to_cancel_while_a_task_is_started(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.cancel()
    await f.cancel()
    await f.refused(task, complete())
    await f.work(cancel())


@script
async def run_cancels_unasked(s: Stage) -> None:
    f = await s.start()
    await f.work(cancel())


@script
async def run_is_terminated(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer(), schedule_activity(f))
    await f.terminate(reason="enough", details=payloads("x"))
    await s.refused("TerminateWorkflowExecution", workflow_execution=f.execution)
    await s.refused("TerminateWorkflowExecution", workflow_execution={"workflow_id": s.name("nobody")})


@script
async def run_is_terminated_before_its_first_task(s: Stage) -> None:
    f = await s.start()
    await f.terminate()


@script
async def run_is_terminated_while_a_task_is_started(s: Stage) -> None:
    """The signal in the buffer is lost."""
    f = await s.start()
    await f.poll()
    await f.signal()
    await f.terminate(reason="enough")


@script
async def run_is_terminated_while_a_later_attempt_is_started(s: Stage) -> None:
    f = await s.start()
    await f.fail(await f.poll())
    await f.poll()
    await f.terminate()


@script
async def run_is_terminated_while_a_later_attempt_waits(s: Stage) -> None:
    f = await s.start()
    await f.fail(await f.poll())
    await f.terminate()


@script
async def run_times_out(s: Stage) -> None:
    f = await s.start(workflow_run_timeout=seconds(2))
    await f.work(start_timer())
    await f.ended()


@script
async def run_times_out_before_its_first_task(s: Stage) -> None:
    f = await s.start(workflow_run_timeout=seconds(1))
    await f.ended()


@script
async def run_times_out_while_a_task_is_started(s: Stage) -> None:
    f = await s.start(workflow_run_timeout=seconds(2), workflow_task_timeout=seconds(10))
    await f.poll()
    await f.signal()
    await f.ended()


@script
async def run_times_out_with_the_whole_chain(s: Stage) -> None:
    f = await s.start(workflow_execution_timeout=seconds(2))
    await f.work(start_timer())
    await f.ended()


@script
async def run_times_out_and_is_retried(s: Stage) -> None:
    f = await s.start(workflow_run_timeout=seconds(2), retry_policy=retry(2))
    await f.work(start_timer())
    await f.work(start_timer())
    await f.ended()


@script
async def run_times_out_with_the_chain_and_is_not_retried(s: Stage) -> None:
    f = await s.start(workflow_execution_timeout=seconds(2), retry_policy=retry())
    await f.work(start_timer())
    await f.ended()


@script
async def run_fails_and_is_retried(s: Stage) -> None:
    f = await s.start(
        retry_policy=retry(3, initial=1),
        input=payloads("in"),
        memo={"fields": {"a": payload(1)}},
        header={"fields": {"h": payload("x")}},
        user_metadata=SUMMARY,
        workflow_execution_timeout=seconds(60),
    )
    await f.work(upsert_memo(b=payload(2)), fail(message="one"))
    await f.work(fail(message="two"))
    await f.work(complete())


@script
async def run_fails_too_often(s: Stage) -> None:
    f = await s.start(retry_policy=retry(2))
    await f.work(fail(message="one"))
    await f.work(fail(message="two"))


@script
async def run_fails_for_good(s: Stage) -> None:
    f = await s.start(retry_policy=retry(non_retryable_error_types=["ValueError"]))
    await f.work(fail())
    g = await s.start("second", retry_policy=retry())
    await g.work(fail(non_retryable=True))


@script
async def run_fails_without_time_for_a_retry(s: Stage) -> None:
    f = await s.start(retry_policy=retry(initial=3600), workflow_execution_timeout=seconds(60))
    await f.work(fail())


@script
async def run_fails_and_says_when_to_retry(s: Stage) -> None:
    f = await s.start(retry_policy=retry(initial=3600))
    await f.work(fail(next_retry_delay=seconds(1)))
    await f.work(complete())


@script
async def run_retried_after_the_first_result(s: Stage) -> None:
    """The last completion result goes along."""
    f = await s.start()
    await f.work(
        continue_as_new(
            workflow_type={"name": "Flow"},
            task_queue={"name": f.queue},
            last_completion_result=payloads("so far"),
            retry_policy=retry(),
        )
    )
    await f.work(fail())
    await f.work(complete())


@script
async def run_continues_as_new(s: Stage) -> None:
    """Only what the command says goes along, and what belongs to the chain."""
    f = await s.start(
        input=payloads("in"),
        memo={"fields": {"a": payload(1)}},
        header={"fields": {"h": payload("x")}},
        workflow_run_timeout=seconds(50),
        workflow_task_timeout=seconds(5),
        user_metadata=SUMMARY,
        priority={"priority_key": 2},
    )
    await f.work(continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue}))
    await f.work(complete())


@script
async def run_continues_as_new_with_everything(s: Stage) -> None:
    f = await s.start(
        input=payloads("in"),
        memo={"fields": {"a": payload(1)}},
        workflow_execution_timeout=seconds(60),
        workflow_run_timeout=seconds(50),
        workflow_task_timeout=seconds(5),
        retry_policy=retry(5),
    )
    await f.work(
        continue_as_new(
            workflow_type={"name": "Other"},
            task_queue={"name": s.name("elsewhere")},
            input=payloads("next"),
            memo={"fields": {"b": payload(2)}},
            header={"fields": {"h": payload("y")}},
            workflow_run_timeout=40,
            workflow_task_timeout=4,
            backoff_start_interval=seconds(2),
            retry_policy=retry(7),
            failure=failure(),
            last_completion_result=payloads("so far"),
        )
    )
    task = await f.poll(s.name("elsewhere"))
    await f.complete(task, complete())


@script
async def run_continues_as_new_by_default(s: Stage) -> None:
    f = await s.start(retry_policy=retry(5))
    await f.work(continue_as_new())
    await f.work(complete())


@script
async def run_continues_as_new_after_a_second(s: Stage) -> None:
    """Then the next one may begin at once."""
    f = await s.start()
    task = await f.poll()
    await s.pause(1.2)
    await f.complete(
        task,
        continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue}, user_metadata=SUMMARY),
    )
    await f.work(complete())


@script
async def run_continues_as_new_twice(s: Stage) -> None:
    f = await s.start(workflow_execution_timeout=seconds(60))
    for _ in range(2):
        await f.work(continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue}))
    await f.work(complete())


@script
async def run_continues_as_new_over_a_signal(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.signal()
    again = continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue})
    await f.refused(task, again)
    await f.work(again)
    await f.signal()
    await f.work(complete())
