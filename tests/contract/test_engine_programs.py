"""Random programs (tests/unit/engine_world.py) on the real file, and their histories before Temporal's own Replayer.

The Replayer needs code. `Script` is a workflow that gives, at each workflow task, the commands that were given at that task when the
history came to be: so a history that Temporal's SDK would refuse is refused here.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from perdure.engine.engine import Engine
from perdure.store import Store
from perdure.testing import JumpingClock

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from engine_driver import Driver
from engine_world import World, random_program

PROGRAMS = int(os.environ.get("PERDURE_PROGRAMS", "10"))

Step = tuple[Any, ...]
scripts: dict[
    str, dict[int, list[Step]]
] = {}  # run id -> id of the WorkflowTaskStarted event -> what was commanded


@workflow.defn(name="Flow", sandboxed=False)
class Script:
    """Does at each workflow task what the script says."""

    def __init__(self) -> None:
        self.activities: dict[str, workflow.ActivityHandle[Any]] = {}
        self.timers: dict[str, asyncio.Task[None]] = {}
        self.others: list[asyncio.Task[Any]] = []

    @workflow.run
    async def run(self) -> str:
        script = scripts[workflow.info().run_id]
        seen = 0
        while True:
            with suppress(asyncio.CancelledError):  # the script says what follows
                await workflow.wait_condition(
                    lambda seen=seen: workflow.info().get_current_history_length() != seen  # type: ignore[misc]
                )
            if seen == (now := workflow.info().get_current_history_length()):
                continue
            seen = now
            for step in script.get(seen, []):
                if step[0] == "close":
                    return self.close(step[1])
                self.do(*step)
                for _ in range(4):
                    await asyncio.sleep(0)  # lets the command be made before the next one

    @workflow.signal(dynamic=True)
    def signalled(self, name: str, args: Sequence[RawValue]) -> None:
        """Every signal is welcome."""

    @workflow.update(dynamic=True)
    async def change(self, name: str, args: Sequence[RawValue]) -> str:
        return "done"

    def close(self, kind: str) -> str:
        if kind == "fail":
            raise ApplicationError("boom", type="ValueError")
        if kind == "continue":
            workflow.continue_as_new()
        if kind == "cancelled":
            raise asyncio.CancelledError
        return "done"

    def do(self, kind: str, key: str, *rest: Any) -> None:
        match kind:
            case "activity":
                self.activities[key] = workflow.start_activity(
                    "act",
                    activity_id=key,
                    start_to_close_timeout=timedelta(seconds=10),
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                )
            case "cancel activity":
                self.activities[key].cancel()
            case "timer":
                self.timers[key] = self.begin(asyncio.sleep(rest[0]))
            case "cancel timer":
                self.timers[key].cancel()
            case "child":
                self.begin(workflow.start_child_workflow("Flow", id=key))
            case "signal":
                self.begin(workflow.get_external_workflow_handle(key).signal(rest[0]))
            case "cancel":
                self.begin(workflow.get_external_workflow_handle(key).cancel())
            case "memo":
                workflow.upsert_memo({key: "x"})

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.others.append(task)
        return task


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_the_official_replayer_accepts_what_random_programs_leave(seed: int) -> None:
    async def test() -> None:
        driver = Driver()
        await driver.engine.start()
        world = World(driver, replayable=True)
        try:
            await random_program(world, seed, 120)
        finally:
            await world.end()
        replayer = Replayer(workflows=[Script], workflow_runner=UnsandboxedWorkflowRunner())
        for run_id, script in world.scripts.items():
            events = world.driver.journal.runs[run_id].events
            started = events[0].workflow_execution_started_event_attributes
            scripts[started.original_execution_run_id] = (
                script  # a reset run is replayed under its first one's id
            )
            await replayer.replay_workflow(WorkflowHistory(started.workflow_id, events))

    asyncio.run(test())


class FileDriver(Driver):
    """The same engine on a DuckDB file. A crash leaves only what was committed."""

    def __init__(self, path: Path, clock: JumpingClock | None = None) -> None:
        self.path = path
        self.store = Store.open(path)
        self.clock = clock or JumpingClock()
        self.engine = Engine(self.store, self.clock)

    async def crash(self) -> FileDriver:
        await self.engine.stop()
        self.store.close()
        successor = FileDriver(self.path, self.clock)
        await successor.engine.start()
        return successor


async def read_file(driver: Driver) -> list[Any]:
    assert isinstance(driver, FileDriver)
    await driver.store.durable(driver.store.append([]))
    rows = list((await asyncio.to_thread(driver.store.sql, "select run_id from executions"))["run_id"])
    found = [await driver.store.read_run(run_id) for run_id in rows]
    return [records for records in found if records is not None]


@pytest.mark.parametrize("seed", range(max(2, PROGRAMS // 6)))
def test_random_programs_on_the_file(tmp_path: Path, seed: int) -> None:
    async def test() -> None:
        driver = FileDriver(tmp_path / "w.duckdb")
        await driver.engine.start()
        world = World(driver, read=read_file)
        try:
            await random_program(world, seed, 60)
        finally:
            await world.end()
            world.driver.store.close()  # type: ignore[attr-defined]

    asyncio.run(test())
