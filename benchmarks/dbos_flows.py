"""The measured workflows, for DBOS: `count` as plain functions and as `async` ones."""

from __future__ import annotations

from dbos import DBOS

from benchmarks.steps import did_step

arrived: list[int] = []


@DBOS.step()
def step(number: int) -> int:
    did_step()
    return number + 1


@DBOS.workflow()
def count(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = step(number)
    return number


@DBOS.step()
async def step_async(number: int) -> int:
    did_step()
    return number + 1


@DBOS.workflow()
async def count_async(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await step_async(number)
    return number


@DBOS.step()
async def arrive(number: int) -> int:
    arrived.append(number)
    return number


@DBOS.workflow()
async def wait(number: int) -> None:
    await arrive(number)
    await DBOS.recv_async("topic", timeout_seconds=100_000)
