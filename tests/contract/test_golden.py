"""Golden histories: the official Replayer accepts them, and today's engine writes them again, event by event.

`tests/golden/programs.py` holds the programs and records the files.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from perdure.frontend.host import EngineHost

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden import flows, programs

NAMES = sorted(programs.PROGRAMS)

# what differs from run to run: identities, ids, times, sizes, random values, and what SDK and machine say of themselves
VARIABLE = {
    "eventTime", "taskId", "requestId", "runId", "identity", "historySizeBytes", "originalExecutionRunId",
    "firstExecutionRunId", "newExecutionRunId", "continuedExecutionRunId", "sdkMetadata", "meteringMetadata", "binaryChecksum",
    "backoffStartInterval", "details", "result", "firstWorkflowTaskBackoff", "workflowExecutionExpirationTime",
    "protocolInstanceId", "acceptedRequestMessageId", "updateId", "name", "normalName", "stackTrace", "kind", "identityKey",
    "acceptedRequest", "meta", "resourceId",
}  # fmt: skip


def stored(name: str) -> WorkflowHistory:
    text = (programs.FOLDER / f"{name}.json").read_text()
    return WorkflowHistory.from_json(f"golden-{name}", text)


def stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VARIABLE}
    return [stable(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def played() -> Iterator[dict[str, WorkflowHistory]]:
    """Every program, played on today's engine."""

    async def play(host: EngineHost) -> dict[str, WorkflowHistory]:
        client = await Client.connect(host.address, api_key=host.token, tls=False, identity="recorder")
        async with programs.worker(client):
            return {name: await programs.play(client, name) for name in NAMES}

    with tempfile.TemporaryDirectory() as folder, EngineHost(Path(folder) / "history.duckdb") as host:
        yield asyncio.run(play(host))


@pytest.mark.parametrize("name", NAMES)
def test_the_replayer_accepts_the_golden_history(name: str) -> None:
    asyncio.run(Replayer(workflows=flows.WORKFLOWS).replay_workflow(stored(name)))


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_writes_the_golden_history_again(name: str, played: dict[str, WorkflowHistory]) -> None:
    asyncio.run(Replayer(workflows=flows.WORKFLOWS).replay_workflow(played[name]))
    golden = json.loads((programs.FOLDER / f"{name}.json").read_text())["events"]
    now = programs.without_stacks(played[name].to_json_dict())["events"]
    if name in ("fan_out", "cancelled_activity", "updates", "signals"):
        # how results and requests share workflow tasks is a matter of timing; which events there are is not
        assert sorted(e["eventType"] for e in now if "TASK" not in e["eventType"]) == sorted(
            e["eventType"] for e in golden if "TASK" not in e["eventType"]
        )
        return
    assert stable(now) == stable(golden)


@workflow.defn(name="OneActivity", sandboxed=False)
class Changed:
    """OneActivity after an edit that its open runs cannot follow."""

    @workflow.run
    async def run(self) -> int:
        await workflow.sleep(timedelta(seconds=1))
        return 42


def test_a_changed_workflow_is_detected() -> None:
    with pytest.raises(NondeterminismError):
        asyncio.run(Replayer(workflows=[Changed]).replay_workflow(stored("one_activity")))
