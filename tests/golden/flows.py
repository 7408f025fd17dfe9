"""Small workflows, one for each rule, written with Temporal's SDK alone. Their histories lie beside this file as JSON."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

SHORT = timedelta(seconds=10)
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=10))


@activity.defn
async def double(number: int) -> int:
    return number * 2


@activity.defn
async def fails_twice(number: int) -> int:
    if activity.info().attempt < 3:
        raise ApplicationError(f"attempt {activity.info().attempt}", type="Flaky")
    return number


@activity.defn
async def always_fails() -> None:
    raise ApplicationError("no", type="Broken", non_retryable=True)


@activity.defn
async def waits_for_cancel() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@workflow.defn
class OneActivity:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(double, 21, start_to_close_timeout=SHORT)


@workflow.defn
class RetriedActivity:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(
            fails_twice, 7, start_to_close_timeout=SHORT, retry_policy=QUICK
        )


@workflow.defn
class FailedActivityCaught:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(always_fails, start_to_close_timeout=SHORT)
        except ActivityError as error:
            return type(error.cause).__name__
        return "not reached"


@workflow.defn
class CancelledActivity:
    @workflow.run
    async def run(self) -> bool:
        handle = workflow.start_activity(
            waits_for_cancel,
            start_to_close_timeout=SHORT,
            heartbeat_timeout=timedelta(seconds=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.sleep(0.2)
        handle.cancel()
        try:
            await handle
        except ActivityError:
            return True
        return False


@workflow.defn
class FanOut:
    @workflow.run
    async def run(self) -> int:
        calls = [workflow.execute_activity(double, n, start_to_close_timeout=SHORT) for n in range(8)]
        return sum(await asyncio.gather(*calls))


@workflow.defn
class Timers:
    @workflow.run
    async def run(self) -> str:
        slow = asyncio.create_task(workflow.sleep(3600))
        await workflow.sleep(0.05)
        slow.cancel()
        return "early"


@workflow.defn
class Signals:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: len(self.seen) == 3)
        return self.seen

    @workflow.signal
    def say(self, word: str) -> None:
        self.seen.append(word)


@workflow.defn
class Updates:
    def __init__(self) -> None:
        self.total = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.total >= 10)
        return self.total

    @workflow.update
    async def add(self, number: int) -> int:
        self.total += await workflow.execute_activity(double, number, start_to_close_timeout=SHORT)
        return self.total

    @add.validator
    def _positive(self, number: int) -> None:
        if number <= 0:
            raise ValueError("positive numbers only")


@workflow.defn
class Adds:
    @workflow.run
    async def run(self, number: int) -> int:
        if number < 0:
            raise ApplicationError("negative")
        return number + 1


@workflow.defn
class Children:
    @workflow.run
    async def run(self) -> int:
        own = workflow.info().workflow_id
        good = await workflow.execute_child_workflow(Adds.run, 1, id=f"{own}-good")
        try:
            await workflow.execute_child_workflow(Adds.run, -1, id=f"{own}-bad")
        except ChildWorkflowError:
            return good
        return 0


@workflow.defn
class Continues:
    @workflow.run
    async def run(self, left: int) -> int:
        if left:
            workflow.continue_as_new(left - 1)
        return left


@workflow.defn
class Cancelled:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.sleep(3600)
        except asyncio.CancelledError:
            return "cancelled and tidied up"
        return "not reached"


@workflow.defn
class Local:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_local_activity(double, 4, start_to_close_timeout=SHORT)


@workflow.defn
class Patched:
    @workflow.run
    async def run(self) -> str:
        return "new" if workflow.patched("better") else "old"


@workflow.defn
class Remembers:
    @workflow.run
    async def run(self) -> str:
        workflow.upsert_memo({"step": 1})
        workflow.set_current_details("on its way")
        return str(workflow.uuid4())


@workflow.defn
class Fails:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("on purpose", type="Expected")


@workflow.defn
class FailsTwiceThenEnds:
    @workflow.run
    async def run(self) -> int:
        if workflow.info().attempt < 3:
            raise ApplicationError("again")
        return workflow.info().attempt


ACTIVITIES = [double, fails_twice, always_fails, waits_for_cancel]
WORKFLOWS = [
    OneActivity,
    RetriedActivity,
    FailedActivityCaught,
    CancelledActivity,
    FanOut,
    Timers,
    Signals,
    Updates,
    Adds,
    Children,
    Continues,
    Cancelled,
    Local,
    Patched,
    Remembers,
    Fails,
    FailsTwiceThenEnds,
]
