"""What operators do to pending activities. TEMPORAL.md, section 18."""

from __future__ import annotations

from golden.commands import complete, retry, schedule_activity, seconds, start_timer
from golden.stage import Stage, script


@script
async def activity_paused_while_it_runs(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry()))
    task = await f.activity()
    await s.call("PauseActivity", execution=f.execution, id="a", reason="wait")
    await f.heartbeat(task)
    await f.activity_failed(task)
    await s.call("UnpauseActivity", execution=f.execution, id="a")
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_reset_while_it_runs(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry()))
    task = await f.activity()
    await f.heartbeat(task, "half")
    await s.call("ResetActivity", execution=f.execution, id="a", reset_heartbeat=True)
    await f.heartbeat(task, "more")
    await f.activity_failed(task)
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_reset_in_a_later_attempt(s: Stage) -> None:
    """The attempt is no longer the one that the worker has."""
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry()))
    await f.activity_failed(await f.activity())
    task = await f.activity()
    await s.call("ResetActivity", execution=f.execution, id="a")
    await s.refused("RecordActivityTaskHeartbeat", task_token=task.task_token, identity="worker")
    await s.refused("RespondActivityTaskCompleted", task_token=task.task_token, identity="worker")
    await f.terminate()


@script
async def activity_options_changed(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f, retry_policy=retry(initial=60)))
    await f.activity_failed(await f.activity())
    await s.call(
        "UpdateActivityOptions",
        execution=f.execution,
        id="a",
        activity_options={
            "retry_policy": {"initial_interval": seconds(0.1)},
            "start_to_close_timeout": seconds(30),
        },
        update_mask={"paths": ["retry_policy.initial_interval", "start_to_close_timeout"]},
    )
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def activity_unknown_to_operators(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    for rpc in ("PauseActivity", "UnpauseActivity", "ResetActivity", "UpdateActivityOptions"):
        await s.refused(rpc, execution=f.execution, id="unknown")
    await f.terminate()
