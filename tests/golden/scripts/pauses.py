"""Pauses of whole runs, and changes of their options. TEMPORAL.md, sections 1.2 and 18."""

from __future__ import annotations

from typing import Any

from golden.commands import complete, schedule_activity, start_timer
from golden.stage import Flow, Stage, script


async def _pause(f: Flow, request_id: str = "") -> None:
    await f.stage.call(
        "PauseWorkflowExecution",
        workflow_id=f.id,
        reason="lunch",
        request_id=request_id or f.stage.request_id(),
    )


async def _resume(f: Flow) -> None:
    await f.stage.call("UnpauseWorkflowExecution", workflow_id=f.id, reason="back")


async def _change(f: Flow, *paths: str, **options: Any) -> None:
    await f.stage.call(
        "UpdateWorkflowExecutionOptions",
        workflow_execution=f.execution,
        update_mask={"paths": paths},
        workflow_execution_options=options,
    )


@script
async def paused_before_its_task(s: Stage) -> None:
    """The task that nobody took fails, and comes again."""
    f = await s.start()
    await _pause(f)
    await f.signal()
    await s.call("QueryWorkflow", execution=f.execution, query={"query_type": "q"})
    await s.refused("UpdateWorkflowExecution", **f.update_fields("u"))
    await _resume(f)
    await f.work(complete())


@script
async def paused_during_its_task(s: Stage) -> None:
    """The task may finish; what it scheduled waits."""
    f = await s.start()
    task = await f.poll()
    await _pause(f)
    await f.signal()
    await f.complete(task, schedule_activity(f), start_timer("t", 0.5))
    await s.pause(1.5)
    await _resume(f)
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def paused_during_its_last_task(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await _pause(f)
    await f.refused(task, complete())
    await _resume(f)
    await f.work(complete())


@script
async def paused_twice(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await _pause(f, "same")
    await _pause(f, "same")
    await s.refused("PauseWorkflowExecution", workflow_id=f.id, request_id="other")
    await _resume(f)
    await s.refused("UnpauseWorkflowExecution", workflow_id=f.id)
    await f.terminate()


@script
async def options_changed(s: Stage) -> None:
    """Each change is an event; a change to what is already there is none."""
    f = await s.start()
    await _change(f, "priority", priority={"priority_key": 2})
    await _change(f, "priority", priority={"priority_key": 2})
    await _change(f, "priority.fairness_key", priority={"fairness_key": "f"})
    task = await f.poll()
    await _change(f, "priority", priority={"priority_key": 4})
    await f.complete(task)
    await f.work(complete())


@script
async def refused_options(s: Stage) -> None:
    f = await s.start()
    for path in ("nope", "priority.nope", "versioning_override.pinned"):
        await s.refused(
            "UpdateWorkflowExecutionOptions",
            workflow_execution=f.execution,
            update_mask={"paths": [path]},
            workflow_execution_options={"versioning_override": {"auto_upgrade": True}},
        )
    await f.terminate()


@script
async def pause_while_a_timer_runs(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("t", 0.5))
    await _pause(f)
    await s.pause(2)
    await _resume(f)
    await f.work(complete())


@script
async def pause_while_an_activity_waits(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await _pause(f)
    await _resume(f)
    await f.activity_done(await f.activity())
    await f.work(complete())


@script
async def pause_while_an_activity_runs(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    task = await f.activity()
    await _pause(f)
    await f.activity_done(task)
    await _resume(f)
    await f.work(complete())


@script
async def pause_and_terminate(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await _pause(f)
    await f.terminate()


@script
async def pause_and_cancel(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await _pause(f)
    await f.cancel()
    await _resume(f)
    await f.work(complete())
