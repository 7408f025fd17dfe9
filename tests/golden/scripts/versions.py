"""Worker deployments, and priorities. TEMPORAL.md, sections 19 and 22."""

from __future__ import annotations

import asyncio
from typing import Any

from golden.commands import complete, continue_as_new, schedule_activity, start_child, start_timer
from golden.stage import Flow, Stage, script

PINNED, AUTO_UPGRADE = 1, 2
_REGISTERED, _SPREAD = (
    3.0,
    1.5,
)  # seconds that a server takes to hear of a version, and to tell its queues of a new routing


def _options(s: Stage, build_id: str) -> dict[str, Any]:
    return {"deployment_name": s.name("deployment"), "build_id": build_id, "worker_versioning_mode": 2}


async def _flow(s: Stage, *builds: str) -> Flow:
    """A workflow whose queue has workers of these versions; the first one is current."""
    f = s.flow("flow")
    polls = [
        asyncio.create_task(
            s._service.send(
                rpc, s.make(rpc, task_queue={"name": f.queue}, deployment_options=_options(s, build_id))
            )
        )
        for build_id in builds
        for rpc in ("PollWorkflowTaskQueue", "PollActivityTaskQueue")
    ]
    await s.pause(_REGISTERED)
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)
    await _current(s, builds[0])
    return f


async def _current(s: Stage, build_id: str) -> None:
    rpc = "SetWorkerDeploymentCurrentVersion"
    await s._service.send(rpc, s.make(rpc, deployment_name=s.name("deployment"), build_id=build_id))
    await s.pause(_SPREAD)


async def _start(s: Stage, f: Flow, **fields: Any) -> None:
    await s.call("StartWorkflowExecution", **s.start_fields(f, **fields))


async def _work(s: Stage, f: Flow, build_id: str, behavior: int, *commands: Any) -> None:
    task = await f.poll(deployment_options=_options(s, build_id))
    await f.complete(task, *commands, deployment_options=_options(s, build_id), versioning_behavior=behavior)


async def _versioning(s: Stage, f: Flow) -> None:
    """Makes the run's versioning part of the play."""
    answer = await s._service.send(
        "DescribeWorkflowExecution", s.make("DescribeWorkflowExecution", execution=f.execution)
    )
    s.play.answers.append(("DescribeWorkflowExecution", answer.workflow_execution_info.versioning_info))


@script
async def version_of_a_pinned_run_stays(s: Stage) -> None:
    """It is told that the target has changed."""
    f = await _flow(s, "1", "2")
    await _start(s, f)
    await _work(s, f, "1", PINNED, start_timer())
    await _current(s, "2")
    await f.signal()
    await _work(s, f, "1", PINNED)
    await _versioning(s, f)
    await f.terminate()


@script
async def version_of_an_auto_upgrading_run_moves(s: Stage) -> None:
    f = await _flow(s, "1", "2")
    await _start(s, f)
    await _work(s, f, "1", AUTO_UPGRADE, start_timer())
    await _versioning(s, f)
    await _current(s, "2")
    await f.signal()
    task = await f.poll(deployment_options=_options(s, "2"))
    await _versioning(s, f)
    await f.complete(task, deployment_options=_options(s, "2"), versioning_behavior=AUTO_UPGRADE)
    await _versioning(s, f)
    await f.terminate()


@script
async def version_is_handed_on_when_a_pinned_run_continues_as_new(s: Stage) -> None:
    """With the target that it was told of, and did not take."""
    f = await _flow(s, "1", "2")
    await _start(s, f)
    await _work(s, f, "1", PINNED, start_timer())
    await _current(s, "2")
    await f.signal()
    await _work(s, f, "1", PINNED, continue_as_new())
    await _work(s, f, "1", PINNED, complete())


@script
async def version_is_chosen_anew_when_a_pinned_run_asks_for_it(s: Stage) -> None:
    f = await _flow(s, "1", "2")
    await _start(s, f)
    await _work(s, f, "1", PINNED, start_timer())
    await _current(s, "2")
    await f.signal()
    await _work(s, f, "1", PINNED, continue_as_new(initial_versioning_behavior=1))
    await _work(s, f, "2", PINNED, complete())


@script
async def version_of_a_pinned_parent_goes_to_its_child(s: Stage) -> None:
    f = await _flow(s, "1", "2")
    child = s.flow("child", f.queue)
    await _start(s, f)
    await _work(s, f, "1", PINNED, start_child(child, parent_close_policy=2))
    await f.happened("ChildWorkflowExecutionStarted")
    await f.terminate()
    await child.terminate()


@script
async def version_of_an_auto_upgrading_parent_goes_to_its_child(s: Stage) -> None:
    f = await _flow(s, "1", "2")
    child = s.flow("child", f.queue)
    await _start(s, f)
    await _work(s, f, "1", AUTO_UPGRADE, start_child(child, parent_close_policy=2))
    await f.happened("ChildWorkflowExecutionStarted")
    await f.terminate()
    await child.terminate()


@script
async def version_override_pins_a_run_and_is_taken_away(s: Stage) -> None:
    f = await _flow(s, "2", "1")
    pinned = {
        "pinned": {"behavior": 1, "version": {"deployment_name": s.name("deployment"), "build_id": "1"}}
    }
    await _start(s, f, versioning_override=pinned)
    await _work(s, f, "1", AUTO_UPGRADE, start_timer())
    await _versioning(s, f)
    await s.call(
        "UpdateWorkflowExecutionOptions",
        workflow_execution=f.execution,
        workflow_execution_options={},
        update_mask={"paths": ["versioning_override"]},
    )
    await _versioning(s, f)
    await f.signal()
    await _work(s, f, "2", AUTO_UPGRADE, complete())


@script
async def version_without_workers_for_the_queue_is_refused(s: Stage) -> None:
    f = await _flow(s, "1")
    f.unheard = True
    for build_id in ("9", ""):
        version = {"deployment_name": s.name("deployment"), "build_id": build_id}
        override = {"pinned": {"behavior": 1, "version": version}}
        await s.refused("StartWorkflowExecution", **s.start_fields(f, versioning_override=override))


@script
async def version_of_an_unversioned_worker_is_recorded(s: Stage) -> None:
    f = await s.start()
    await f.work(complete(), worker_version_stamp={"build_id": "abc"})


@script
async def priority_is_inherited(s: Stage) -> None:
    """By activities, children and the next run, as far as they do not say otherwise."""
    f = await s.start(priority={"priority_key": 2, "fairness_key": "tenant", "fairness_weight": 3.0})
    child = s.flow("child", f.queue)
    await f.work(
        schedule_activity(f, "plain"),
        schedule_activity(f, "urgent", priority={"priority_key": 1}),
        start_child(child, priority={"fairness_key": "other"}, parent_close_policy=2),
    )
    await f.happened("ChildWorkflowExecutionStarted")
    await f.activity_done(await f.activity())
    await f.activity_done(await f.activity())
    await child.terminate()
    await f.terminate()
