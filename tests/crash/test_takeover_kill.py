"""Owners are killed with SIGKILL; one of those who joined takes over, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DescribeBatchOperationRequest, StartBatchOperationRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    WorkflowFailureError,
)
from temporalio.exceptions import TimeoutError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with SIGKILL")

PROGRAM = Path(__file__).with_name("takeover_member.py")


class Member:
    """A member in a process of its own."""

    def __init__(self, file: Path, patience: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(file), str(patience)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.entered = self.next()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # the SDK's core logs its warnings there, too
                self.events.put(json.loads(line))

    def next(self) -> dict[str, Any]:
        """What it says next."""
        return self.events.get(timeout=20)

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        self._reader.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


Enter = Callable[..., Member]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".perdure" / "history.duckdb"


@pytest.fixture
def enter(file: Path) -> Iterator[Enter]:
    with ExitStack() as stack:

        def enter(patience: float = 15) -> Member:
            member = Member(file, patience)
            stack.callback(member.close)
            return member

        yield enter


def where(event: dict[str, Any]) -> tuple[str, str]:
    return event["address"], event["token"]


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], object]) -> Any:
    """The first answer of which that holds."""
    while True:
        answer = await ask()
        if holds(answer):
            return answer
        await asyncio.sleep(0.05)


def test_each_killed_owner_has_one_successor_on_its_port(enter: Enter, file: Path) -> None:
    members = [enter() for _ in range(4)]
    first = members[0].entered
    assert [each.entered["role"] for each in members] == ["owner", "joined", "joined", "joined"]
    owner = members[0]
    while len(members) > 1:
        owner.kill()
        members.remove(owner)
        changes = [each.next() for each in members]
        assert sorted(each["role"] for each in changes) == ["joined"] * (len(members) - 1) + ["owner"]
        assert {where(each) for each in changes} == {where(first)}
        owner = next(m for m, change in zip(members, changes, strict=True) if change["role"] == "owner")
        assert json.loads(file.with_name("frontend.json").read_text())["pid"] == owner.process.pid
    owner.tell("definitions")
    assert owner.next()["count"] == 0


def test_a_run_goes_on_when_the_owner_is_killed(enter: Enter, tmp_path: Path) -> None:
    """A plain SDK client and a worker of a joined process both find the new owner by themselves."""
    owner, joined = enter(), enter()
    joined.tell("work")
    assert joined.next()["event"] == "working"
    notes = tmp_path / "notes"

    async def main() -> int:
        client = await Client.connect(owner.entered["address"], api_key=owner.entered["token"], tls=False)
        handle = await client.start_workflow("Steps", str(notes), id="steps", task_queue="steps")
        assert (await asyncio.to_thread(joined.next))["event"] == "third step"
        await asyncio.to_thread(owner.kill)
        assert (await asyncio.to_thread(joined.next))["role"] == "owner"
        result: int = await handle.result()
        return result

    assert asyncio.run(asyncio.wait_for(main(), 60)) == 12
    assert sorted(set(notes.read_text().split()), key=int) == [str(step) for step in range(12)]


def test_what_nobody_works_on_goes_on_in_the_new_owner(enter: Enter) -> None:
    """A schedule, a batch operation, a timeout: what the engine does by itself."""
    owner, joined = enter(), enter()
    job = StartBatchOperationRequest(
        namespace="default", job_id="job", reason="why", max_operations_per_second=2
    )
    job.visibility_query = "WorkflowId STARTS_WITH 'idle'"
    job.signal_operation.signal = "go"
    ticks = ScheduleIntervalSpec(every=timedelta(seconds=1))
    schedule = Schedule(
        action=ScheduleActionStartWorkflow("Nobody", id="tick", task_queue="nobody"),
        spec=ScheduleSpec(intervals=[ticks]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL),
    )

    async def main() -> None:
        client = await Client.connect(owner.entered["address"], api_key=owner.entered["token"], tls=False)
        limited = await client.start_workflow(
            "Nobody", id="limited", task_queue="nobody", run_timeout=timedelta(seconds=2)
        )
        for number in range(6):
            await client.start_workflow("Nobody", id=f"idle-{number}", task_queue="nobody")
        handle = await client.create_schedule("ticks", schedule)
        await client.workflow_service.start_batch_operation(job)
        await until(
            lambda: client.count_workflows("WorkflowId STARTS_WITH 'tick'"), lambda found: found.count
        )
        await asyncio.to_thread(owner.kill)
        assert (await asyncio.to_thread(joined.next))["role"] == "owner"
        with pytest.raises(WorkflowFailureError) as failure:
            await limited.result()
        assert isinstance(failure.value.cause, TimeoutError)
        described = DescribeBatchOperationRequest(namespace="default", job_id="job")
        done = await until(
            lambda: client.workflow_service.describe_batch_operation(described),
            lambda found: found.HasField("close_time"),
        )
        assert (done.complete_operation_count, done.failure_operation_count) == (6, 0)
        for number in range(6):
            events = (await client.get_workflow_handle(f"idle-{number}").fetch_history()).events
            kinds = [event.event_type for event in events]
            assert kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) == 1
        await until(handle.describe, lambda found: found.info.num_actions >= 4)
        await handle.delete()
        started = [each.id async for each in client.list_workflows("WorkflowId STARTS_WITH 'tick'")]
        seconds = sorted(
            datetime.fromisoformat(id.removeprefix("tick-").replace("Z", "+00:00")) for id in started
        )
        assert seconds == [seconds[0] + timedelta(seconds=number) for number in range(len(seconds))]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_fork_of_the_dead_owner_stands_in_nobodys_way(enter: Enter) -> None:
    owner, joined = enter(), enter()
    owner.tell("fork")
    child = owner.next()["pid"]
    try:
        owner.kill()
        change = joined.next()
        assert (change["role"], where(change)) == ("owner", where(owner.entered))
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc to look into a process")
def test_a_fork_of_the_dead_joined_process_holds_no_connection(enter: Enter) -> None:
    owner, joined = enter(), enter()
    joined.tell("fork")
    child = joined.next()["pid"]
    try:
        joined.kill()
        port = int(owner.entered["address"].rpartition(":")[2])
        assert port not in _ports_of(child)
    finally:
        os.kill(child, signal.SIGKILL)


def _ports_of(pid: int) -> set[int]:
    """The remote ports of a process's TCP connections, from Linux's /proc."""
    sockets = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in sockets}


def test_an_owner_that_hangs_is_named(enter: Enter) -> None:
    owner = enter()
    owner.process.send_signal(signal.SIGSTOP)
    refused = enter(patience=0.1).entered
    assert refused["error"] == "FileInUseError"
    assert f"process {owner.process.pid}, which does not answer" in refused["text"]
    owner.process.send_signal(signal.SIGCONT)
    assert enter().entered["role"] == "joined"


@pytest.mark.parametrize("role", ["owner", "joined"])
def test_a_process_may_just_end(enter: Enter, role: str) -> None:
    """Without closing: it leaves at exit, says nothing, and an owner makes room at once."""
    members = {"owner": enter(), "joined": enter()}
    members[role].tell("exit")
    assert members[role].process.wait(20) == 0
    stderr = members[role].process.stderr
    assert stderr is not None and stderr.read() == ""
    if role == "owner":
        assert members["joined"].next()["role"] == "owner"
