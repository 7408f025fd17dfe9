"""What clients read of runs: histories with the attempt that is under way, ends, pages; descriptions. TEMPORAL.md, section 7.4."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from golden.commands import complete, payload, retry, schedule_activity, seconds, start_child, start_timer
from golden.stage import Flow, Refused, Stage, script


async def _read(s: Stage, f: Flow, **fields: Any) -> Any:
    return await s.call("GetWorkflowExecutionHistory", execution=f.execution, **fields)


@script
async def history_of_an_attempt(s: Stage) -> None:
    """Its events are shown, though they are not written yet."""
    f = await s.start()
    await f.fail(await f.poll())
    await _read(s, f)
    task = await f.poll()
    await _read(s, f)
    await f.signal()
    await _read(s, f)
    await f.complete(task)
    await _read(s, f)
    await f.terminate()


@script
async def history_of_a_task_for_an_update(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    answer = await f.update("u", stage=2)
    await _read(s, f)
    await f.poll()
    await _read(s, f)
    await f.terminate()
    with suppress(Refused):
        await answer


@script
async def history_by_its_end(s: Stage) -> None:
    f = await s.start()
    await _read(s, f, history_event_filter_type=2)
    await f.work(start_timer())
    await _read(s, f, history_event_filter_type=2)
    waiting = await s.begin(
        "GetWorkflowExecutionHistory",
        execution=f.execution,
        history_event_filter_type=2,
        wait_new_event=True,
    )
    await f.terminate()
    await waiting
    await _read(s, f, history_event_filter_type=2)


@script
async def history_in_reverse(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await s.call("GetWorkflowExecutionHistoryReverse", execution=f.execution)
    await f.terminate()
    await s.refused("GetWorkflowExecutionHistory", execution={"workflow_id": s.name("nobody")})
    await s.refused("GetWorkflowExecutionHistoryReverse", execution={"workflow_id": s.name("nobody")})


@script
async def described_in_all_it_waits_for(s: Stage) -> None:
    f, child = (
        await s.start(
            memo={"fields": {"m": payload(1)}},
            workflow_run_timeout=seconds(50),
            priority={"priority_key": 2},
        ),
        s.flow("child"),
    )
    await s.call("DescribeWorkflowExecution", execution=f.execution)
    task = await f.poll()
    await s.call("DescribeWorkflowExecution", execution=f.execution)
    await f.complete(
        task,
        schedule_activity(f, retry_policy=retry(initial=60)),
        start_child(child, parent_close_policy=2),
        start_timer(),
    )
    await f.activity_failed(await f.activity())
    await f.work()
    await f.cancel()
    await s.call("DescribeWorkflowExecution", execution=f.execution)
    await f.terminate()
    await child.work(complete())
    await s.refused("DescribeWorkflowExecution", execution={"workflow_id": s.name("nobody")})
