"""Resets: to which points, and what comes again after them. TEMPORAL.md, section 15."""

from __future__ import annotations

from typing import Any

from golden.commands import (
    accepted,
    answered,
    complete,
    continue_as_new,
    schedule_activity,
    send_message,
    start_child,
    start_timer,
)
from golden.stage import Flow, Stage, script

ACCEPTED = 2
SIGNALS, UPDATES = 1, 2


async def _lived(s: Stage, **fields: Any) -> Flow:
    """A run with two workflow tasks behind it, and a signal after each."""
    f = await s.start(**fields)
    await f.work(start_timer("long", 3600))
    await f.signal("first")
    await f.work(schedule_activity(f))
    await f.signal("second")
    return f


def _point(f: Flow, event: int, run_id: str = "") -> dict[str, Any]:
    return {
        "workflow_execution": {"workflow_id": f.id, "run_id": run_id},
        "workflow_task_finish_event_id": event,
        "request_id": f.stage.request_id(),
        "reason": "once more",
    }


async def _reset(f: Flow, event: int, run_id: str = "", **fields: Any) -> Any:
    return await f.stage.call("ResetWorkflowExecution", **_point(f, event, run_id), **fields)


@script
async def reset_to_first_task(s: Stage) -> None:
    """Both signals come again, and the open run is terminated."""
    f = await _lived(s)
    await _reset(f, 4)
    await f.work(complete())


@script
async def reset_to_later_task(s: Stage) -> None:
    """What the first task scheduled stays."""
    f = await _lived(s)
    await _reset(f, 9)
    await f.work(complete())


@script
async def reset_to_task_that_never_started(s: Stage) -> None:
    """The service starts it, to fail it."""
    f = await _lived(s)
    await _reset(f, 8)


@script
async def reset_without_signals(s: Stage) -> None:
    f = await _lived(s)
    await _reset(f, 4, reset_reapply_exclude_types=[SIGNALS])


@script
async def reset_of_closed_run(s: Stage) -> None:
    f = await s.start()
    await f.work(complete())
    await _reset(f, 4)
    await f.work(complete("again"))


@script
async def reset_with_update(s: Stage) -> None:
    """An accepted update is admitted by an event, and the worker finds it in the history."""
    f = await s.start()
    await f.work(start_timer("long", 3600))
    asked = await f.update("u", stage=ACCEPTED)
    task = await f.poll()
    message = accepted(task.messages[0])
    await f.complete(task, send_message(message.id), messages=[message])
    await asked
    await _reset(f, 4)
    task = await f.poll()
    done = answered("u")
    await f.complete(task, send_message(message.id), send_message(done.id), messages=[message, done])


@script
async def reset_over_continue_as_new(s: Stage) -> None:
    """Signals of the runs that followed come again, too."""
    f = await s.start()
    task = await f.work(start_timer("long", 3600))
    await f.signal("first")
    await f.work(continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue}))
    await f.work(start_timer("long", 3600))
    await f.signal("second")
    await _reset(f, 4, task.workflow_execution.run_id)


@script
async def reset_with_child(s: Stage) -> None:
    """A child that was started before the point is kept, and its end reaches the new run."""
    f, child = await s.start(), s.flow("child")
    await f.work(start_child(child))
    await f.work()
    await _reset(f, 9)
    await f.work()
    await child.work(complete("grown"))
    await f.work(complete())


@script
async def refused_resets(s: Stage) -> None:
    f = await _lived(s)
    for event in (0, 1, 5, 6, 99):
        await s.refused("ResetWorkflowExecution", **_point(f, event))


@script
async def reset_while_a_task_is_started(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.signal("one")
    await f.poll()
    await f.signal("two")
    await _reset(f, 4)
    await f.work(complete())


@script
async def reset_over_a_started_activity(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    activity = await f.activity()
    await f.signal()
    await f.work()
    await _reset(f, 9)
    await s.refused("RespondActivityTaskCompleted", task_token=activity.task_token, identity="worker")
    await f.work(complete())


@script
async def reset_of_a_reset(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.signal("one")
    await _reset(f, 4)
    await f.work(start_timer("other"))
    await _reset(f, 8)
    await f.work(complete())
