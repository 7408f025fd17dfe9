"""Temporal's Python SDK against the real engine, through each frontend: everyday use is the same everywhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowQueryFailedError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError
from temporalio.worker import Replayer, Worker

from perdure.frontend.membership import Membership

Connect = Callable[[], Awaitable[Client]]


@activity.defn
async def greet(name: str) -> str:
    if activity.info().attempt == 1 and name == "flaky":
        raise RuntimeError("try again")
    return f"hello {name}"


@activity.defn
async def fail() -> None:
    raise ValueError("no")


@workflow.defn(sandboxed=False)
class Greeter:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.done = False

    @workflow.run
    async def run(self, first: str) -> list[str]:
        self.names.append(await self.ask(first))
        await asyncio.sleep(0.01)
        await workflow.wait_condition(lambda: self.done)
        return self.names

    async def ask(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=10))

    @workflow.update
    async def add(self, name: str) -> int:
        self.names.append(await self.ask(name))
        return len(self.names)

    @workflow.signal
    def finish(self) -> None:
        self.done = True

    @workflow.query
    def count(self) -> int:
        return len(self.names)

    @workflow.query
    def broken(self) -> int:
        raise RuntimeError("a broken query")


@workflow.defn(sandboxed=False)
class Failing:
    @workflow.run
    async def run(self) -> None:
        once = RetryPolicy(maximum_attempts=1)
        await workflow.execute_activity(fail, start_to_close_timeout=timedelta(seconds=10), retry_policy=once)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Membership]:
    with Membership.enter(tmp_path_factory.mktemp("project") / "history.duckdb") as membership:
        yield membership


@pytest.fixture(scope="module")
def joined(owner: Membership) -> Iterator[Membership]:
    with Membership.enter(owner.file) as membership:
        yield membership


@pytest.fixture(params=["owner", "joined", "grpc"])
def connect(request: pytest.FixtureRequest, owner: Membership, joined: Membership) -> Connect:
    async def client() -> Client:
        if request.param == "grpc":
            return await Client.connect(owner.connection.address, api_key=owner.connection.token, tls=False)
        return {"owner": owner, "joined": joined}[request.param].client()

    return client


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


def worker(client: Client, queue: str) -> Worker:
    return Worker(
        client, task_queue=queue, workflows=[Greeter, Failing], activities=[greet, fail], build_id="test"
    )


def test_a_run_from_start_to_result(connect: Connect, request: pytest.FixtureRequest) -> None:
    queue = run_id = request.node.name

    async def main() -> None:
        client = await connect()
        async with worker(client, queue):
            handle = await client.start_workflow(Greeter.run, "flaky", id=run_id, task_queue=queue)
            with pytest.raises(WorkflowAlreadyStartedError):
                await client.start_workflow(Greeter.run, "x", id=run_id, task_queue=queue)
            assert await handle.execute_update(Greeter.add, "you") >= 1
            with pytest.raises(WorkflowQueryFailedError, match="a broken query"):
                await handle.query(Greeter.broken)
            await handle.signal(Greeter.finish)
            assert sorted(await handle.result()) == ["hello flaky", "hello you"]
            assert await handle.query(Greeter.count) == 2
            assert (await handle.describe()).status == WorkflowExecutionStatus.COMPLETED
            history = await handle.fetch_history()
        await Replayer(workflows=[Greeter]).replay_workflow(history)
        found = [each.id async for each in client.list_workflows(f"WorkflowId = '{run_id}'")]
        assert found == [run_id]

    run(main())


def test_a_failure_keeps_its_cause(connect: Connect, request: pytest.FixtureRequest) -> None:
    queue = run_id = request.node.name

    async def main() -> None:
        client = await connect()
        async with worker(client, queue):
            await client.execute_workflow(Failing.run, id=run_id, task_queue=queue)

    with pytest.raises(WorkflowFailureError) as caught:
        run(main())
    assert isinstance(caught.value.cause, ActivityError)
    assert str(caught.value.cause.cause) == "ValueError: no"


def test_a_worker_in_another_process(owner: Membership) -> None:
    """With nothing but the SDK, all warnings being errors."""
    program = """
import asyncio, sys
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker, UnsandboxedWorkflowRunner

@workflow.defn
class Far:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"{name} from afar"

async def main():
    client = await Client.connect(sys.argv[1], api_key=sys.argv[2], tls=False)
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue="far", workflows=[Far], workflow_runner=runner):
        print(await client.execute_workflow(Far.run, "hello", id="far", task_queue="far"))
asyncio.run(main())
"""
    connection = owner.connection
    command = [sys.executable, "-W", "error", "-c", program, connection.address, connection.token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("hello from afar\n", "")


def test_a_joined_process_sees_the_owners_records(
    owner: Membership, joined: Membership, request: pytest.FixtureRequest
) -> None:
    run_id = request.node.name

    async def main() -> None:
        await owner.client().start_workflow("Nobody", id=run_id, task_queue="nobody")
        assert await joined.project.read_run(run_id) == await owner.project.read_run(run_id)
        query = f"SELECT workflow_id, start_time FROM executions WHERE workflow_id = '{run_id}'"
        far, near = await joined.project.sql(query), await owner.project.sql(query)
        assert far.equals(near) and len(far) == 1
        watch: Any = joined.project.watch(run_id)
        async with aclosing(watch):
            assert await anext(watch) == ()
            await joined.client().get_workflow_handle(run_id).terminate("enough")
            assert [lines async for lines in watch][-1:] == [()]

    run(main())


def test_a_folder_has_only_the_projects_files(owner: Membership) -> None:
    names = {each.name for each in Path(owner.file.parent).iterdir() if not each.name.endswith(".wal")}
    assert {"history.duckdb", "frontend.json", "owner.lock"} <= names
