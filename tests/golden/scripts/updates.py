"""Updates: accepted, completed, rejected, lost. TEMPORAL.md, section 13."""

from __future__ import annotations

import asyncio
from typing import Any

from golden.commands import (
    accepted,
    answered,
    complete,
    continue_as_new,
    rejected,
    seconds,
    send_message,
    start_timer,
)
from golden.stage import Flow, Refused, Stage, script

ADMITTED, ACCEPTED, COMPLETED = 1, 2, 3
USE_EXISTING = 2


async def _begun(s: Stage) -> Flow:
    """A run that waits for a timer."""
    f = await s.start()
    await f.work(start_timer("long", 3600))
    return f


async def _refusal(answer: asyncio.Task[Any]) -> Refused:
    try:
        await answer
    except Refused as refused:
        return refused
    raise AssertionError("the update was to be refused")


def _accept_and_answer(task: Any, *, failed: bool = False) -> dict[str, Any]:
    """The messages, and the commands that put them in order, for each update that the task carries."""
    messages, commands = [], []
    for carried in task.messages:
        pair = [accepted(carried), answered(carried.protocol_instance_id, failed=failed)]
        messages += pair
        commands += [send_message(message.id) for message in pair]
    return {"messages": messages, "commands": commands}


async def _answer(f: Flow, task: Any, *more: Any, failed: bool = False, **fields: Any) -> Any:
    made = _accept_and_answer(task, failed=failed)
    return await f.complete(task, *made["commands"], *more, messages=made["messages"], **fields)


@script
async def update_of_a_waiting_run(s: Stage) -> None:
    """A task is made for it alone."""
    f = await _begun(s)
    answer = await f.update("u")
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_fails(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    await _answer(f, await f.poll(), failed=True)
    await answer
    await f.terminate()


@script
async def update_rejected(s: Stage) -> None:
    """It leaves no trace."""
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    await f.complete(task, messages=[rejected(task.messages[0])], capabilities=DISCARDS)
    await answer
    await f.signal()
    await f.work(complete())


DISCARDS = {"discard_speculative_workflow_task_with_events": True}


@script
async def update_rejected_by_a_worker_that_cannot_forget(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    await f.complete(task, messages=[rejected(task.messages[0])])
    await answer
    await f.signal()
    await f.work(complete())


@script
async def update_rejected_with_commands(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    await f.complete(task, start_timer("more"), messages=[rejected(task.messages[0])], capabilities=DISCARDS)
    await answer
    await f.terminate()


@script
async def update_rejected_while_a_signal_waits(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    await f.signal()
    await f.complete(task, messages=[rejected(task.messages[0])], capabilities=DISCARDS)
    await answer
    await f.work(complete())


@script
async def update_before_the_first_task(s: Stage) -> None:
    f = await s.start()
    answer = await f.update("u")
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_rejected_in_the_first_task(s: Stage) -> None:
    f = await s.start()
    answer = await f.update("u")
    task = await f.poll()
    await f.complete(task, messages=[rejected(task.messages[0])], capabilities=DISCARDS)
    await answer
    await f.terminate()


@script
async def update_accepted_and_completed_later(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u", stage=ACCEPTED)
    task = await f.poll()
    message = accepted(task.messages[0])
    await f.complete(task, send_message(message.id), start_timer("t", 0.5), messages=[message])
    await answer
    await s.call(
        "PollWorkflowExecutionUpdate", update_ref={"workflow_execution": f.execution, "update_id": "u"}
    )
    message = answered("u")
    await f.complete(await f.poll(), send_message(message.id), messages=[message])
    await s.call(
        "PollWorkflowExecutionUpdate",
        update_ref={"workflow_execution": f.execution, "update_id": "u"},
        wait_policy={"lifecycle_stage": COMPLETED},
    )
    await f.terminate()


@script
async def update_while_a_task_is_started(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    answer = await f.update("u")
    await f.complete(task, start_timer())
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def updates_ride_on_one_task(s: Stage) -> None:
    f = await _begun(s)
    first, second = await f.update("u1"), await f.update("u2")
    await _answer(f, await f.poll())
    await first
    await second
    await f.terminate()


@script
async def update_and_a_signal_before_the_task(s: Stage) -> None:
    """The signal makes the task an ordinary one."""
    f = await _begun(s)
    answer = await f.update("u")
    await f.signal()
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_of_the_same_id(s: Stage) -> None:
    f = await _begun(s)
    first, second = await f.update("u"), await f.update("u")
    await _answer(f, await f.poll())
    await first
    await second
    await (await f.update("u"))
    await f.terminate()
    await (await f.update("u"))
    await s.call(
        "PollWorkflowExecutionUpdate", update_ref={"workflow_execution": f.execution, "update_id": "u"}
    )


@script
async def update_of_a_closed_run(s: Stage) -> None:
    f = await s.start()
    await f.work(complete())
    await s.refused("UpdateWorkflowExecution", **f.update_fields("u"))
    await s.refused(
        "PollWorkflowExecutionUpdate", update_ref={"workflow_execution": f.execution, "update_id": "u"}
    )
    nobody = {"workflow_id": s.name("nobody")}
    await s.refused("UpdateWorkflowExecution", **(f.update_fields("u") | {"workflow_execution": nobody}))
    await s.refused(
        "PollWorkflowExecutionUpdate", update_ref={"workflow_execution": nobody, "update_id": "u"}
    )


@script
async def update_unknown(s: Stage) -> None:
    f = await _begun(s)
    await s.refused(
        "PollWorkflowExecutionUpdate", update_ref={"workflow_execution": f.execution, "update_id": "unknown"}
    )
    await f.terminate()


@script
async def update_ends_with_the_run(s: Stage) -> None:
    """Accepted, and then the run completes."""
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    message = accepted(task.messages[0])
    await f.complete(task, send_message(message.id), complete(), messages=[message])
    await answer
    await s.call(
        "PollWorkflowExecutionUpdate", update_ref={"workflow_execution": f.execution, "update_id": "u"}
    )


@script
async def update_completes_with_the_run(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    await _answer(f, await f.poll(), complete())
    await answer


@script
async def update_unanswered_by_the_last_task(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    await f.work(complete())
    await _refusal(answer)


@script
async def update_admitted_when_the_run_is_terminated(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    await f.terminate()
    await _refusal(answer)


@script
async def update_sent_when_the_run_is_terminated(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    await f.poll()
    await f.terminate()
    await _refusal(answer)


@script
async def update_accepted_when_the_run_is_terminated(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    message = accepted(task.messages[0])
    await f.complete(task, send_message(message.id), messages=[message])
    await f.terminate()
    await answer


@script
async def update_accepted_when_the_run_continues_as_new(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    message = accepted(task.messages[0])
    await s.pause(1)
    again = continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue})
    await f.complete(task, send_message(message.id), again, messages=[message])
    await answer
    await f.work(complete())


@script
async def update_unanswered(s: Stage) -> None:
    """A worker that knows nothing of updates."""
    f = await _begun(s)
    answer = await f.update("u")
    await f.work()
    await answer
    await f.terminate()


@script
async def update_unanswered_while_the_task_is_kept_alive(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    await f.complete(task, force_create_new_workflow_task=True)
    task2 = await f.poll()
    made = _accept_and_answer(task)
    await f.complete(task2, *made["commands"], messages=made["messages"])
    await answer
    await f.terminate()


@script
async def update_task_fails(s: Stage) -> None:
    """The next attempt carries the update again."""
    f = await _begun(s)
    answer = await f.update("u")
    await f.fail(await f.poll())
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_task_times_out(s: Stage) -> None:
    f = await s.start(workflow_task_timeout=seconds(0.5))
    await f.work(start_timer())
    answer = await f.update("u")
    await f.poll()
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_on_the_sticky_queue(s: Stage) -> None:
    f, sticky = await s.start(), s.name("sticky")
    await f.work(start_timer("t", 0.3), sticky=sticky)
    await f.complete(await f.poll(sticky), sticky=sticky)
    answer = await f.update("u")
    task = await f.poll(sticky)
    await f.complete(task, messages=[rejected(task.messages[0])], sticky=sticky, capabilities=DISCARDS)
    await answer
    answer = await f.update("v")
    await _answer(f, await f.poll(sticky), sticky=sticky)
    await answer
    await f.terminate()


@script
async def update_that_nobody_takes_from_the_sticky_queue(s: Stage) -> None:
    f, sticky = await s.start(), s.name("sticky")
    await f.work(start_timer("t", 0.3), sticky=sticky)
    await f.complete(await f.poll(sticky), sticky=sticky, sticky_timeout=0.5)
    answer = await f.update("u")
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_badly_asked_for(s: Stage) -> None:
    f = await _begun(s)
    for fields in (
        {"request": None},
        {"request": {"meta": {"update_id": "u"}}},
        {"request": {"meta": {"update_id": "u"}, "input": {}}},
        {"wait_policy": {"lifecycle_stage": ADMITTED}},
    ):
        await s.refused("UpdateWorkflowExecution", **(f.update_fields("u") | fields))
    await f.terminate()


@script
async def update_badly_answered(s: Stage) -> None:
    """A completion of an update that nobody asked for fails the task."""
    f = await _begun(s)
    await f.signal()
    message = answered("unknown")
    await f.refused(await f.poll(), send_message(message.id), messages=[message])
    await f.terminate()


# --- with a start


async def _update_with_start(s: Stage, f: Flow, update_id: str = "u", **fields: Any) -> asyncio.Task[Any]:
    fields.setdefault("workflow_id_conflict_policy", USE_EXISTING)
    return await s.begin("ExecuteMultiOperation", operations=_operations(s, f, update_id, **fields))


def _operations(s: Stage, f: Flow, update_id: str = "u", **fields: Any) -> list[dict[str, Any]]:
    start = s.start_fields(f, **fields) | {"namespace": "default", "identity": "client"}
    update = f.update_fields(update_id) | {"namespace": "default"}
    return [{"start_workflow": start}, {"update_workflow": update}]


@script
async def update_with_start_starts(s: Stage) -> None:
    f = s.flow("flow")
    answer = await _update_with_start(s, f)
    await _answer(f, await f.poll(), start_timer())
    await answer
    await f.terminate()


@script
async def update_with_start_of_a_running_one(s: Stage) -> None:
    f = await _begun(s)
    answer = await _update_with_start(s, f)
    await _answer(f, await f.poll())
    await answer
    await (await _update_with_start(s, f))
    await f.terminate()
    await (await _update_with_start(s, f))


@script
async def update_with_start_rejected(s: Stage) -> None:
    f = s.flow("flow")
    answer = await _update_with_start(s, f)
    task = await f.poll()
    await f.complete(task, messages=[rejected(task.messages[0])], capabilities=DISCARDS)
    await answer
    await f.terminate()


@script
async def update_with_start_refused(s: Stage) -> None:
    f = await _begun(s)
    await s.refused("ExecuteMultiOperation", operations=_operations(s, f, workflow_id_conflict_policy=1))
    await f.terminate()
    await s.refused(
        "ExecuteMultiOperation",
        operations=_operations(s, f, workflow_id_conflict_policy=2, workflow_id_reuse_policy=3),
    )
    await s.refused("ExecuteMultiOperation", operations=[])


@script
async def update_with_start_of_a_run_that_ends(s: Stage) -> None:
    f = s.flow("flow")
    answer = await _update_with_start(s, f)
    await f.work(complete())
    await _refusal(answer)


@script
async def update_answered_with_nonsense(s: Stage) -> None:
    """The task fails, and the update with it."""
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    message = answered("u")
    await f.refused(task, send_message(message.id), messages=[message])
    await _refusal(answer)
    await f.terminate()


@script
async def update_with_a_bad_command(s: Stage) -> None:
    f = await _begun(s)
    answer = await f.update("u")
    task = await f.poll()
    made = _accept_and_answer(task)
    await f.refused(task, *made["commands"], start_timer(""), messages=made["messages"])
    await _refusal(answer)
    await f.terminate()


@script
async def update_and_the_run_closes_over_a_signal(s: Stage) -> None:
    f = await _begun(s)
    await f.signal("one")
    task = await f.poll()
    await f.signal("two")
    await f.refused(task, complete())
    task = await f.poll()
    await s.refused("UpdateWorkflowExecution", **f.update_fields("u"))
    await f.complete(task, complete())


@script
async def update_before_a_delayed_start(s: Stage) -> None:
    f = await s.start(workflow_start_delay=seconds(1))
    answer = await f.update("u")
    await _answer(f, await f.poll())
    await answer
    await f.terminate()


@script
async def update_while_the_task_keeps_failing(s: Stage) -> None:
    f = await s.start()
    for _ in range(3):
        await f.fail(await f.poll())
    await s.refused("UpdateWorkflowExecution", **f.update_fields("u"))
    await f.terminate()
