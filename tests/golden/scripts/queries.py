"""Queries: on a task of their own, or along with one that is due. TEMPORAL.md, section 14."""

from __future__ import annotations

import asyncio
from typing import Any

from golden.commands import complete, fail, failure, payloads, start_timer
from golden.stage import Refused, Stage, script


async def _refusal(answer: asyncio.Task[Any]) -> Refused:
    try:
        await answer
    except Refused as refused:
        return refused
    raise AssertionError("the query was to be refused")


async def _answer(s: Stage, task: Any, **fields: Any) -> None:
    fields = fields or {"completed_type": 1, "query_result": payloads("fine")}
    await s.call("RespondQueryTaskCompleted", task_token=task.task_token, **fields)


@script
async def query_of_a_waiting_run(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    answer = await f.query()
    await _answer(s, await f.poll())
    await answer
    await f.terminate()


@script
async def query_fails(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    answer = await f.query()
    await _answer(s, await f.poll(), completed_type=2, error_message="no such state", failure=failure("bad"))
    await _refusal(answer)
    await f.terminate()


@script
async def query_of_a_closed_run(s: Stage) -> None:
    f = await s.start()
    await f.work(complete("x"))
    answer = await f.query()
    await _answer(s, await f.poll())
    await answer
    await s.call("QueryWorkflow", execution=f.execution, query={"query_type": "q"}, query_reject_condition=2)


@script
async def query_rejected(s: Stage) -> None:
    f = await s.start()
    await f.work(fail())
    for condition in (2, 3):
        await s.call(
            "QueryWorkflow",
            execution=f.execution,
            query={"query_type": "q"},
            query_reject_condition=condition,
        )


@script
async def query_of_a_run_that_never_ran(s: Stage) -> None:
    f = await s.start()
    await f.terminate()
    await s.refused("QueryWorkflow", execution=f.execution, query={"query_type": "q"})
    await s.refused("QueryWorkflow", execution={"workflow_id": s.name("nobody")}, query={"query_type": "q"})


@script
async def query_rides_on_a_task(s: Stage) -> None:
    """It sees the signal before it."""
    f = await s.start()
    await f.work(start_timer())
    await f.signal()
    answer = await f.query()
    task = await f.poll()
    [query_id] = task.queries
    await f.complete(task, query_results={query_id: {"result_type": 1, "answer": payloads("fine")}})
    await answer
    await f.terminate()


@script
async def query_rides_on_a_task_and_fails(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.signal()
    answer = await f.query()
    task = await f.poll()
    [query_id] = task.queries
    await f.complete(
        task, query_results={query_id: {"result_type": 2, "error_message": "no", "failure": failure("bad")}}
    )
    await _refusal(answer)
    await f.terminate()


@script
async def query_before_the_first_task(s: Stage) -> None:
    f = await s.start()
    answer = await f.query()
    await f.work(start_timer())
    await _answer(s, await f.poll())
    await answer
    await f.terminate()


@script
async def query_while_a_task_is_started(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    answer = await f.query()
    await f.complete(task, start_timer())
    await _answer(s, await f.poll())
    await answer
    await f.terminate()


@script
async def query_while_a_task_keeps_failing(s: Stage) -> None:
    f = await s.start()
    for _ in range(3):
        await f.fail(await f.poll())
    await s.refused("QueryWorkflow", execution=f.execution, query={"query_type": "q"})
    await f.terminate()


@script
async def query_on_the_sticky_queue(s: Stage) -> None:
    f, sticky = await s.start(), s.name("sticky")
    await f.work(start_timer("t", 0.3), sticky=sticky)
    await f.complete(await f.poll(sticky), sticky=sticky)
    answer = await f.query()
    await _answer(s, await f.poll(sticky))
    await answer
    await f.terminate()


@script
async def query_answered_too_late(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    answer = await f.query()
    task = await f.poll()
    await _answer(s, task)
    await answer
    await s.refused("RespondQueryTaskCompleted", task_token=task.task_token, completed_type=1)
    await f.terminate()


@script
async def query_that_nobody_takes_from_the_sticky_queue(s: Stage) -> None:
    f, sticky = await s.start(), s.name("sticky")
    await f.work(start_timer("t", 0.3), sticky=sticky)
    await f.complete(await f.poll(sticky), sticky=sticky, sticky_timeout=0.5)
    answer = await f.query()
    await _answer(s, await f.poll())
    await answer
    await f.terminate()


@script
async def queries_badly_asked_for(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await s.refused("QueryWorkflow", execution=f.execution)
    await s.refused("QueryWorkflow", execution=f.execution, query={})
    await s.refused("QueryWorkflow", query={"query_type": "q"})
    await f.terminate()
