"""The engine and its file alone, asked through its RPCs by a loop that answers for the worker: no SDK, no gRPC, no workflow code.

python -m benchmarks.on_engine SCENARIO FOLDER SIZE STEPS
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    PollWorkflowTaskQueueRequest,
    RespondWorkflowTaskCompletedRequest,
    StartWorkflowExecutionRequest,
)

from benchmarks.answers import answer, main, resident_kib, settled_cpu
from benchmarks.scenarios import Figures
from perdure.engine.engine import Engine
from perdure.engine.limits import DEFAULT, Limits
from perdure.store import Store

AT_ONCE = 200
MARKERS = 10  # commands of each workflow task; with its own three events it makes 13


@asynccontextmanager
async def engine(folder: Path, limits: Limits = DEFAULT) -> AsyncIterator[Engine]:
    store = Store.open(folder / "history.duckdb")
    made = Engine(store, limits=limits)
    await made.start()
    yield made
    await made.stop()
    store.close()


async def start(on: Engine, workflow_id: str) -> None:
    request = StartWorkflowExecutionRequest(
        namespace="default", workflow_id=workflow_id, request_id=workflow_id
    )
    request.workflow_type.name = request.task_queue.name = "bench"
    await on.service.call("StartWorkflowExecution", request)


async def task(on: Engine) -> Any:
    request = PollWorkflowTaskQueueRequest(namespace="default", identity="bench")
    request.task_queue.name = "bench"
    return await on.service.call("PollWorkflowTaskQueue", request)


async def complete(on: Engine, token: bytes, commands: list[Command], *, again: bool) -> Any:
    request = RespondWorkflowTaskCompletedRequest(
        task_token=token,
        commands=commands,
        force_create_new_workflow_task=again,
        return_new_workflow_task=again,
    )
    request.sticky_attributes.worker_task_queue.name = "sticky"
    request.sticky_attributes.schedule_to_start_timeout.FromSeconds(10)
    return await on.service.call("RespondWorkflowTaskCompleted", request)


def marker() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    command.record_marker_command_attributes.marker_name = "bench"
    return command


def timer() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = "day"
    command.start_timer_command_attributes.start_to_fire_timeout.FromSeconds(86_400)
    return command


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def opened(folder: Path) -> None:
    async with engine(folder):
        pass


async def _history(folder: Path, size: int) -> Figures:
    figures = {}
    async with engine(folder) as on:
        await start(on, "long")
        token = (await task(on)).task_token

        async def append() -> None:
            nonlocal token
            for _ in range(size // 2 // (MARKERS + 3)):
                answered = await complete(on, token, [marker()] * MARKERS, again=True)
                token = answered.workflow_task.task_token

        async def read() -> None:
            request = GetWorkflowExecutionHistoryRequest(
                namespace="default", execution=WorkflowExecution(workflow_id="long"), maximum_page_size=256
            )
            while True:
                page: Any = await on.service.call("GetWorkflowExecutionHistory", request)
                if not page.next_page_token:
                    break
                request.next_page_token = page.next_page_token

        figures["append_first"] = await timed(append)
        figures["append_second"] = await timed(append)
        figures["pages"] = await timed(read)
    figures["recover"] = await timed(lambda: opened(folder))
    return figures


async def _wait(on: Engine, first: int, last: int) -> None:
    """Starts runs that wait for a timer."""

    async def one(number: int) -> None:
        await start(on, f"wait-{number}")
        await complete(on, (await task(on)).task_token, [timer()], again=False)

    for begin in range(first, last, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(begin, min(last, begin + AT_ONCE))))


async def _open(folder: Path, size: int) -> Figures:
    async with engine(folder) as on:
        before = resident_kib()
        await _wait(on, 0, size // 2)
        figures = {"kib": (resident_kib() - before) / (size // 2)}
    figures["recover_half"] = await timed(lambda: opened(folder))
    async with engine(folder) as on:
        await _wait(on, size // 2, size)
        figures["idle_cpu"] = await asyncio.to_thread(settled_cpu)
    figures["recover"] = await timed(lambda: opened(folder))
    return figures


async def _parked(folder: Path, size: int) -> Figures:
    async with engine(folder, replace(DEFAULT, open_bytes=16 << 20)) as on:
        before = resident_kib()
        await _wait(on, 0, size)
        return {"kib": (resident_kib() - before) / size}


def history(folder: Path, size: int, steps: int) -> Figures:
    return asyncio.run(_history(folder, size))


def open(folder: Path, size: int, steps: int) -> Figures:
    return asyncio.run(_open(folder, size))


def parked(folder: Path, size: int, steps: int) -> Figures:
    return asyncio.run(_parked(folder, size))


if __name__ == "__main__":
    answer(main(sys.argv, history, open, parked))
