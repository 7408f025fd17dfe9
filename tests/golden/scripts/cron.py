"""Workflows with a cron schedule. TEMPORAL.md, section 11. Delays are `@every`, so that a recording does not depend on the hour."""

from __future__ import annotations

from golden.commands import (
    cancel,
    complete,
    continue_as_new,
    fail,
    payload,
    payloads,
    retry,
    seconds,
    start_child,
)
from golden.stage import Stage, script


@script
async def cron_run_completes(s: Stage) -> None:
    f = await s.start(
        cron_schedule="@every 1s", input=payloads("in"), memo={"fields": {"m": payload("memo")}}
    )
    await f.work(complete("one"))
    await f.work(complete("two"))
    await f.terminate(reason="enough")


@script
async def cron_run_fails(s: Stage) -> None:
    f = await s.start(cron_schedule="@every 1s", last_completion_result=payloads("before"))
    await f.work(fail())
    await f.work(complete("good"))
    await f.work(fail())
    await f.terminate(reason="enough")


@script
async def cron_run_is_retried_first(s: Stage) -> None:
    f = await s.start(cron_schedule="@every 1s", retry_policy=retry(2, initial=1))
    await f.work(complete("good"))
    await f.work(fail())
    await f.work(fail())
    await f.work(complete())
    await f.terminate(reason="enough")


@script
async def cron_run_times_out(s: Stage) -> None:
    f = await s.start(
        cron_schedule="@every 1s",
        workflow_run_timeout=seconds(1),
        last_completion_result=payloads("before"),
    )
    await s.pause(1.2)
    await s.pause(1.2)
    await f.terminate(reason="enough")


@script
async def cron_ends_with_the_execution_timeout(s: Stage) -> None:
    f = await s.start(cron_schedule="@every 1s", workflow_execution_timeout=seconds(2.5))
    await f.work(complete())
    await s.pause(1.2)
    await s.pause(1.2)


@script
async def cron_run_is_canceled(s: Stage) -> None:
    f = await s.start(cron_schedule="@every 1h")
    await f.cancel()
    await f.work(cancel())


@script
async def cron_run_continues_as_new(s: Stage) -> None:
    f = await s.start(cron_schedule="@every 1s")
    await f.work(continue_as_new(cron_schedule="@every 2s"))
    await f.work(continue_as_new())
    await f.work(complete())


@script
async def cron_of_a_child(s: Stage) -> None:
    f = await s.start()
    child = s.flow("child")
    await f.work(start_child(child, cron_schedule="@every 1s"))
    await f.work()
    await child.work(complete("one"))
    await f.terminate(reason="enough")


@script
async def cron_run_is_signaled_before_it_is_due(s: Stage) -> None:
    f = await s.start(cron_schedule="@every 1h")
    await f.signal("plain")
    await f.terminate(reason="enough")


@script
async def cron_badly_asked_for(s: Stage) -> None:
    f = s.flow("flow")
    f.unheard = True
    for fields in (
        {"cron_schedule": "not a cron"},
        {"cron_schedule": "0 0 30 2 *"},
        {"cron_schedule": "@hourly", "workflow_start_delay": seconds(1)},
    ):
        await s.refused("StartWorkflowExecution", **s.start_fields(f, **fields))
