"""Code that no longer fits an open run: the engine says so in the history, and goes on when fitting code is back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from perdure.frontend.host import EngineHost


@activity.defn
async def step(number: int) -> int:
    return number


@workflow.defn(name="Edited", sandboxed=False)
class Before:
    def __init__(self) -> None:
        self.go = False

    @workflow.run
    async def run(self) -> int:
        first = await workflow.execute_activity(step, 1, start_to_close_timeout=timedelta(seconds=10))
        await workflow.wait_condition(lambda: self.go)
        return first

    @workflow.signal
    def proceed(self) -> None:
        self.go = True


@workflow.defn(name="Edited", sandboxed=False)
class After:
    """The same after an edit: a timer before the activity."""

    @workflow.run
    async def run(self) -> int:
        await workflow.sleep(timedelta(milliseconds=1))
        return await workflow.execute_activity(step, 1, start_to_close_timeout=timedelta(seconds=10))

    @workflow.signal
    def proceed(self) -> None: ...


async def failed_tasks(handle: WorkflowHandle[object, int]) -> list[WorkflowTaskFailedCause.ValueType]:
    return [
        event.workflow_task_failed_event_attributes.cause
        async for event in handle.fetch_history_events(wait_new_event=False)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]


async def activity_done(handle: WorkflowHandle[object, int]) -> None:
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            return


async def task_failed(handle: WorkflowHandle[object, int]) -> None:
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return


def test_a_changed_workflow_fails_its_task_and_goes_on_when_the_old_code_is_back(tmp_path: Path) -> None:
    async def main(host: EngineHost) -> None:
        client = await Client.connect(host.address, api_key=host.token, tls=False)
        handle: WorkflowHandle[object, int] = await client.start_workflow(
            "Edited", id="edited", task_queue="queue", result_type=int, task_timeout=timedelta(seconds=1)
        )

        def worker(definition: type) -> Worker:
            return Worker(
                client, task_queue="queue", workflows=[definition], activities=[step], build_id="test"
            )

        async with worker(Before):
            await activity_done(handle)
        async with worker(After):
            await handle.signal("proceed")
            await task_failed(handle)
        assert await failed_tasks(handle) == [
            WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
        ]
        async with worker(Before):
            assert await asyncio.wait_for(handle.result(), 60) == 1

    with EngineHost(tmp_path / "history.duckdb") as host:
        asyncio.run(main(host))
