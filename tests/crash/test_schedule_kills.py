"""kill -9 at random instants of an engine that keeps a schedule: each action of it happens once, and none is left out.

The engine's clock jumps from action to action, so that a schedule for each minute acts some hundred times a second.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from perdure.engine.journal import Scope
from perdure.engine.schedules.state import KIND, decode
from perdure.store import Store
from perdure.testing.clock import NEW_YEAR_2026

ROUNDS = int(os.environ.get("PERDURE_KILLS", "20")) // 6
BEGIN, MINUTE = NEW_YEAR_2026, 60_000_000_000

# Opens the file of argv[1] at the time argv[2], makes the schedule if it is not there, and lets time jump until it is killed.
KEEPS = """
import asyncio, sys
from temporalio.api.workflowservice.v1 import CreateScheduleRequest
from perdure.engine.engine import Engine
from perdure.engine.errors import ServiceError
from perdure.store import Store
from perdure.testing import JumpingClock

async def main():
    clock = JumpingClock(int(sys.argv[2]))
    engine = Engine(Store.open(sys.argv[1]), clock)
    await engine.start()
    request = CreateScheduleRequest(namespace="default", schedule_id="s", request_id="r")
    request.schedule.spec.cron_string.append("* * * * *")
    request.schedule.policies.overlap_policy = 6
    action = request.schedule.action.start_workflow
    action.workflow_id, action.workflow_type.name, action.task_queue.name = "w", "T", "q"
    await engine.service.call("CreateSchedule", request)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_each_action_happens_once_over_kills(tmp_path: Path) -> None:
    path, now = tmp_path / "history.duckdb", BEGIN
    chance = random.Random(5)
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", KEEPS, str(path), str(now)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.05, 0.4))
            os.kill(process.pid, signal.SIGKILL)
        now = _checked(path)
    assert now > BEGIN + 10 * MINUTE


def _checked(path: Path) -> int:
    """Looks at what is in the file; when the engine may go on."""
    store = Store.open(path)
    rows = asyncio.run(store.list_executions(Scope("default"), "", 100_000)).rows
    [document] = [kept for kept in store.kept() if kept.kind == KIND]
    store.close()
    assert document.body is not None
    info = decode(document.body).info
    names = [row.workflow_id for row in rows]
    assert len(set(names)) == len(names) == info.action_count
    minutes = sorted(_nominal(name) for name in names)
    assert minutes == list(range(1, len(minutes) + 1))
    assert info.missed_catchup_window == 0
    return max((row.start_time for row in rows), default=BEGIN)


def _nominal(workflow_id: str) -> int:
    """The minute that a started workflow stands for, from BEGIN."""
    moment = datetime.fromisoformat(workflow_id.removeprefix("w-").replace("Z", "+00:00"))
    return (int(moment.timestamp()) * 1_000_000_000 - BEGIN) // MINUTE
