"""The measured workflows, as a module of definitions for perdure."""

from __future__ import annotations

import temporalio.workflow

import perdure
from benchmarks.steps import did_step

arrived: list[int] = []


@perdure.activity
async def step(number: int) -> int:
    did_step()
    return number + 1


@perdure.activity
async def arrive(number: int) -> int:
    arrived.append(number)
    return number


@perdure.workflow
async def count(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await step(number)
    return number


@perdure.workflow
async def wait(number: int) -> None:
    await arrive(number)
    await temporalio.workflow.wait_condition(lambda: False)
