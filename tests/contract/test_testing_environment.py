"""Temporal's own testing environments, on our engine: what users of `temporalio.testing` write works without a download."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import perdure.testing
from perdure.engine.limits import Limits
from perdure.frontend.host import EngineHost
from perdure.testing.server import _SETTINGS, _limits, main

DAY = timedelta(days=1)
STARTUP = timedelta(seconds=60)


@workflow.defn(sandboxed=False)
class Sleeper:
    @workflow.run
    async def run(self, days: int) -> str:
        for _ in range(days):
            await asyncio.sleep(DAY.total_seconds())
        return workflow.now().isoformat()

    @workflow.query
    def now(self) -> float:
        return workflow.now().timestamp()

    @workflow.signal
    def wake(self) -> None:
        """Makes a query see the present."""


@workflow.defn(sandboxed=False)
class Calls:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "dawdle",
            schedule_to_close_timeout=timedelta(seconds=1000),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


def worker(env: WorkflowEnvironment, queue: str, *activities: object) -> Worker:
    return Worker(
        env.client,
        task_queue=queue,
        workflows=[Sleeper, Calls],
        activities=activities,  # type: ignore[arg-type]
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


def new_id() -> str:
    return f"w-{uuid.uuid4()}"


def near(when: datetime, ahead: timedelta) -> bool:
    return abs(when - datetime.now(UTC) - ahead) < timedelta(minutes=2)


def test_time_skips_while_a_result_is_awaited_and_when_told_to() -> None:
    async def test() -> None:
        async with await perdure.testing.time_skipping() as env, worker(env, "q"):
            assert env.supports_time_skipping
            assert near(await env.get_current_time(), timedelta())
            await env.client.execute_workflow(Sleeper.run, 30, id=new_id(), task_queue="q")
            assert near(await env.get_current_time(), 30 * DAY)

            handle = await env.client.start_workflow(Sleeper.run, 9, id=new_id(), task_queue="q")
            await env.sleep(DAY * 2)
            await handle.signal(Sleeper.wake)
            seen = datetime.fromtimestamp(await handle.query(Sleeper.now), UTC)
            assert near(seen, 32 * DAY)

            with env.auto_time_skipping_disabled(), pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(handle.result(), 0.5)
            await handle.result()

    asyncio.run(test())


def test_an_activity_that_lets_time_pass_misses_its_heartbeat() -> None:
    async def test() -> None:
        async with await perdure.testing.time_skipping() as env:

            @activity.defn
            async def dawdle() -> None:
                await env.sleep(40)

            async with worker(env, "q", dawdle):
                with pytest.raises(WorkflowFailureError) as error:
                    await env.client.execute_workflow(Calls.run, id=new_id(), task_queue="q")
                assert isinstance(error.value.cause, ActivityError)
                assert isinstance(error.value.cause.cause, TimeoutError)
                assert error.value.cause.cause.type == TimeoutType.HEARTBEAT

    asyncio.run(test())


def test_a_signal_and_a_timer_may_both_wait_for_a_worker_that_is_away() -> None:
    async def test() -> None:
        async with await perdure.testing.time_skipping() as env:
            async with worker(env, "q"):
                handle = await env.client.start_workflow(Sleeper.run, 1, id=new_id(), task_queue="q")
                await env.sleep(60)
            result = asyncio.create_task(handle.result())
            await handle.signal(Sleeper.wake)
            await env.sleep(2 * DAY)  # nobody is there to take the tasks that this makes
            async with worker(env, "q"):
                assert datetime.fromisoformat(await result) - datetime.now(UTC) > DAY

    asyncio.run(test())


@pytest.mark.skipif(os.name == "nt", reason="The program of a source tree is a shell script.")
def test_the_sdk_starts_our_server_as_its_test_server() -> None:
    async def test() -> None:
        env = await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=perdure.testing.server_path(), test_server_startup_timeout=STARTUP
        )
        async with env, worker(env, "q"):
            began = monotonic()
            await env.client.execute_workflow(Sleeper.run, 30, id=new_id(), task_queue="q")
            assert monotonic() - began < 30
            assert near(await env.get_current_time(), 30 * DAY)

    asyncio.run(test())


@pytest.mark.skipif(os.name == "nt", reason="The program of a source tree is a shell script.")
def test_the_sdk_starts_our_server_as_its_dev_server_with_a_clock_for_each_run() -> None:
    async def test() -> None:
        env = await WorkflowEnvironment.start_time_skipping_v2(
            dev_server_existing_path=perdure.testing.server_path(), dev_server_startup_timeout=STARTUP
        )
        async with env, worker(env, "q"):
            handle = await env.client.start_workflow(Sleeper.run, 3, id=new_id(), task_queue="q")
            assert datetime.fromisoformat(await handle.result()) - datetime.now(UTC) > 2 * DAY
            assert near(await env.get_current_time(handle), 3 * DAY)

            with env.with_time_skipping_disabled():
                still = await env.client.start_workflow(Sleeper.run, 9, id=new_id(), task_queue="q")
            await still.signal(Sleeper.wake)
            await still.query(Sleeper.now)
            assert await env.get_time_skipping_info(still) is None
            assert await env.fast_forward(still, DAY / 2)
            assert near(await env.get_current_time(still), DAY / 2)
            assert not await env.fast_forward(still, 100 * DAY)  # it ends before
            with pytest.raises(RPCError) as error:  # real time is not to be steered
                await env.client.test_service.lock_time_skipping(_lock())
            assert error.value.status == RPCStatusCode.UNIMPLEMENTED

    asyncio.run(test())


def _lock() -> object:
    from temporalio.api.testservice.v1 import LockTimeSkippingRequest

    return LockTimeSkippingRequest()


def test_a_taken_port_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EngineHost(tmp_path / "h.duckdb") as host:
        port = host.address.rpartition(":")[2]
        assert main([port]) == 1
        assert f"Port {port} of 127.0.0.1 is taken" in capsys.readouterr().err


def test_it_does_not_listen_where_other_machines_reach_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "start-dev", "--ip", "0.0.0.0", "--port", "17233"]) == 1
    assert "Other machines can reach 0.0.0.0" in capsys.readouterr().err


def test_a_mistake_in_its_line_is_explained() -> None:
    program = [sys.executable, "-m", "perdure.testing.server", "server", "start-dev", "--nonsense"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--nonsense" in done.stderr


def test_the_dev_servers_settings_are_our_limits() -> None:
    assert set(_SETTINGS.values()) <= {field.name for field in fields(Limits)}
    limits = _limits(
        ["limit.historyCount.suggestContinueAsNew=50", "frontend.enableUpdateWorkflowExecution=true"]
    )
    assert limits == Limits(history_count_suggest=50)
