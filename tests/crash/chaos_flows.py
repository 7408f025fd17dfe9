"""What the chaos test runs: small workflows of every kind, and activities that keep books of their own.

Each execution of an activity writes two lines into the ledger, a file that perdure knows nothing of: one
when it begins and one when it has done its work (`end`), or has failed on purpose (`fail`). A line is
appended and synced before the function goes on. `end` carries a token that is made up for this execution and
is part of the result, so that a result in a history names the one execution that it came from.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import temporalio.activity
import temporalio.workflow
from temporalio.exceptions import ActivityError

import perdure

told: Callable[[str], None] = lambda what: None  # noqa: E731  # the kernel puts its pipe to the driver here


def note(what: str, token: str = "") -> str:
    """Writes a line of the ledger about the running activity, tells the driver, and gives the token."""
    info = temporalio.activity.info()
    line = {
        "what": what,
        "run": info.workflow_run_id or info.activity_run_id,
        "activity": info.activity_id,
        "type": info.activity_type,
        "attempt": info.attempt,
        "token": token,
        "pid": os.getpid(),
    }
    ledger = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, json.dumps(line).encode() + b"\n")
        os.fdatasync(ledger)
    finally:
        os.close(ledger)
    told(what)
    return token


def done(value: int) -> list[Any]:
    """The result of an activity: its value, and the token of this execution."""
    return [value, note("end", os.urandom(8).hex())]


@perdure.activity(timeout="20s", initial_interval="20ms")
async def add(left: int, right: int) -> list[Any]:
    note("begin")
    await asyncio.sleep((left + right) % 5 / 100)
    return done(left + right)


@perdure.activity(timeout="20s", initial_interval="20ms")
def square(number: int) -> list[Any]:
    """A plain function: it runs on a thread."""
    note("begin")
    time.sleep(number % 7 / 100)
    return done(number * number)


@perdure.activity(timeout="20s", initial_interval="30ms", backoff=1.5, maximum_interval="200ms")
async def flaky(number: int, failures: int) -> list[Any]:
    """Fails at its first attempts."""
    note("begin")
    if temporalio.activity.info().attempt <= failures:
        note("fail")
        raise ConnectionError(f"attempt {temporalio.activity.info().attempt} of {failures + 1}")
    return done(number + failures)


@perdure.activity(timeout="20s", heartbeat="10s", initial_interval="20ms")
async def climb(steps: int) -> list[Any]:
    """Goes on from its last heartbeat."""
    note("begin")
    reached = next(iter(temporalio.activity.info().heartbeat_details), 0)
    for step in range(reached, steps):
        await asyncio.sleep(0.02)
        temporalio.activity.heartbeat(step + 1)
    return done(steps)


@perdure.activity(timeout="20s", initial_interval="60s", backoff=1.0)
async def gate(number: int) -> list[Any]:
    """Fails until somebody opens the gate, and waits a long time in between."""
    note("begin")
    workflow_id = temporalio.activity.info().workflow_id
    if not await asyncio.to_thread(Path(f"{os.environ['CHAOS_LEDGER']}.{workflow_id}").exists):
        note("fail")
        raise ConnectionError("the gate is closed")
    return done(number)


@perdure.activity(timeout="20s", maximum_attempts=1)
async def pay_once(amount: int) -> list[Any]:
    """Must never be begun twice, whatever happens."""
    note("begin")
    await asyncio.sleep(0.03)
    return done(amount)


@perdure.workflow
async def chain(length: int) -> int:
    total = 0
    for number in range(length):
        total, _ = await add(total, number)
    return total


@perdure.workflow
async def fan(width: int) -> int:
    jobs = [square(number) if number % 2 else flaky(number, number % 3) for number in range(width)]
    return sum(value for value, _ in await asyncio.gather(*jobs))


@perdure.workflow
async def waits(rounds: int) -> int:
    """Timers between activities, and timers beside them."""
    total = 0
    for number in range(rounds):
        await asyncio.sleep(0.1 + number % 3 / 10)
        (value, _), _ = await asyncio.gather(climb(number), asyncio.sleep(0.15))
        total += value
    return total


@perdure.workflow
async def pays(times: int) -> int:
    """The payment is lost if its process dies meanwhile; it is never made twice."""
    paid = 0
    for number in range(times):
        try:
            value, _ = await pay_once(number + 1)
        except ActivityError:
            value, _ = await add(number, 1)
        paid += value
    return paid


@perdure.workflow
async def family(children: int) -> int:
    values = await asyncio.gather(*(chain(number + 2) for number in range(children)))
    value, _ = await add(sum(values), 1)
    return value


@perdure.workflow
async def gated(number: int) -> int:
    value, _ = await gate(number)
    return int(value)


@perdure.workflow
@temporalio.workflow.defn(name="endless")
class Endless:
    """Continues as new for ever: it must be cancelled."""

    @temporalio.workflow.run
    async def run(self, total: int = 0) -> int:
        value, _ = await add(total, 1)
        await asyncio.sleep(0.2)
        temporalio.workflow.continue_as_new(value)
        return 0


@perdure.workflow
@temporalio.workflow.defn(name="relay")
class Relay:
    """Continues as new: each run of the chain does one activity."""

    @temporalio.workflow.run
    async def run(self, rounds: int, total: int) -> int:
        value, _ = await add(total, rounds)
        if rounds > 1:
            await asyncio.sleep(0.05)
            temporalio.workflow.continue_as_new(args=[rounds - 1, value])
        return value


@perdure.workflow
@temporalio.workflow.defn(name="mailbox")
class Mailbox:
    """Waits for as many numbers as it was told of, by signal and by update, each once; squares them all."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @temporalio.workflow.run
    async def run(self, signals: int, updates: int) -> int:
        total = 0
        for read in range(signals + updates):
            await temporalio.workflow.wait_condition(lambda read=read: len(self.numbers) > read)
            value, _ = await temporalio.workflow.execute_activity(
                "square",
                self.numbers[read],
                result_type=list,
                start_to_close_timeout=timedelta(seconds=20),
            )
            total += value
        await temporalio.workflow.wait_condition(temporalio.workflow.all_handlers_finished)
        return total

    @temporalio.workflow.signal
    def post(self, number: int) -> None:
        if number not in self.numbers:
            self.numbers.append(number)

    @temporalio.workflow.update
    async def ask(self, number: int) -> int:
        if number not in self.numbers:
            self.numbers.append(number)
        value, _ = await temporalio.workflow.execute_activity(
            "add", args=[number, 1], result_type=list, start_to_close_timeout=timedelta(seconds=20)
        )
        return int(value)

    @temporalio.workflow.query
    def count(self) -> int:
        return len(self.numbers)


WORKFLOWS = (chain, fan, waits, pays, family, gated, Endless, Relay, Mailbox)
