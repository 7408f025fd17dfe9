"""Signals, also together with a start. TEMPORAL.md, sections 1.2 and 6.2."""

from __future__ import annotations

from typing import Any

from golden.commands import complete, payload, payloads, seconds, start_timer
from golden.stage import Flow, Stage, script


@script
async def signal_to_a_waiting_run(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.signal("go", "there", header={"fields": {"h": payload("x")}})
    await f.work(complete())


@script
async def links_are_kept(s: Stage) -> None:
    """On the events that the requests led to."""
    link = {"workflow_event": {"namespace": "default", "workflow_id": "w", "run_id": "r"}}
    f = await s.start(links=[link])
    await f.signal(links=[link])
    await f.cancel(links=[link])
    await f.terminate(links=[link])
    g = s.flow("second")
    await _signal_with_start(s, g, links=[link])
    await _signal_with_start(s, g, links=[link])
    await g.terminate()


@script
async def signal_before_the_first_task(s: Stage) -> None:
    f = await s.start()
    await f.signal()
    await f.work(complete())


@script
async def signals_while_a_task_is_started(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.signal("one")
    await f.signal("two")
    await f.complete(task, start_timer())
    await f.work(complete())


@script
async def signal_once_for_each_request(s: Stage) -> None:
    f = await s.start()
    await f.signal(request_id="request-same")
    await f.signal(request_id="request-same")
    task = await f.poll()
    await f.signal(request_id="request-same")
    await f.signal(request_id="request-other")
    await f.signal(request_id="request-other")
    await f.complete(task)
    await f.work(complete())


@script
async def signal_without_a_request_id(s: Stage) -> None:
    f = await s.start()
    await f.signal(request_id="")
    await f.work(complete())


@script
async def signal_keeps_the_run_open(s: Stage) -> None:
    """A run does not close over a signal that it has not seen."""
    f = await s.start()
    task = await f.poll()
    await f.signal()
    await f.refused(task, complete())
    await f.work(complete())


@script
async def signal_to_a_run_that_tries_to_close(s: Stage) -> None:
    """It may put off the end once; then the run may close."""
    f = await s.start()
    task = await f.poll()
    await f.signal("one")
    await f.refused(task, start_timer(), complete())
    task = await f.poll()
    await s.refused("SignalWorkflowExecution", workflow_execution=f.execution, signal_name="two")
    await f.complete(task, complete())


@script
async def signal_to_a_closed_run(s: Stage) -> None:
    f = await s.start()
    await f.work(complete())
    await s.refused("SignalWorkflowExecution", workflow_execution=f.execution, signal_name="go")
    await s.refused(
        "SignalWorkflowExecution", workflow_execution={"workflow_id": s.name("nobody")}, signal_name="go"
    )


async def _signal_with_start(s: Stage, f: Flow, **fields: Any) -> Any:
    fields.setdefault("signal_name", "go")
    return await s.call("SignalWithStartWorkflowExecution", **s.start_fields(f, **fields))


@script
async def signal_with_start_starts(s: Stage) -> None:
    f = s.flow("flow")
    await _signal_with_start(
        s, f, signal_input=payloads("in"), input=payloads(1), header={"fields": {"h": payload("x")}}
    )
    await f.work(complete())


@script
async def signal_with_start_of_a_running_one(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await _signal_with_start(s, f, header={"fields": {"h": payload("x")}}, signal_input=payloads("in"))
    task = await f.poll()
    await _signal_with_start(s, f)
    await f.complete(task)
    await f.work(complete())


@script
async def signal_with_start_of_a_closed_one(s: Stage) -> None:
    f = await s.start()
    await f.work(complete())
    await _signal_with_start(s, f)
    await f.work(complete())


@script
async def signal_with_start_refused_for_a_closed_one(s: Stage) -> None:
    f = await s.start()
    await f.work(complete())
    await s.refused(
        "SignalWithStartWorkflowExecution",
        **s.start_fields(f, signal_name="go", workflow_id_reuse_policy=3),
    )


@script
async def signal_with_start_terminates_a_running_one(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    second = s.flow("flow")
    await _signal_with_start(s, second, workflow_id_conflict_policy=3)
    await f.work(complete())


@script
async def signal_with_start_ends_the_delay(s: Stage) -> None:
    """A plain signal does not."""
    f = await s.start(workflow_start_delay=seconds(3600))
    await f.signal("plain")
    await _signal_with_start(s, f)
    await f.work(complete())


@script
async def signal_with_start_with_a_delay(s: Stage) -> None:
    f = s.flow("flow")
    await _signal_with_start(s, f, workflow_start_delay=seconds(1))
    await f.work(complete())
