"""What a client does with each flow. `record` writes the histories; the contract test runs the same programs and compares.

python tests/golden/programs.py        writes tests/golden/*.json anew; look at the difference before you commit it
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateFailedError,
)
from temporalio.common import RetryPolicy
from temporalio.worker import Worker

from golden import flows

FOLDER = Path(__file__).parent
Program = Callable[[WorkflowHandle[Any, Any]], Awaitable[None]]


async def _wait(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.result()


async def _expect_failure(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError:
        return
    raise AssertionError("the workflow should have failed")


async def _signal(handle: WorkflowHandle[Any, Any]) -> None:
    for word in ("one", "two", "three"):
        await handle.signal(flows.Signals.say, word)
    await handle.result()


async def _update(handle: WorkflowHandle[Any, Any]) -> None:
    rejected = False
    try:
        await handle.execute_update(flows.Updates.add, -1)
    except WorkflowUpdateFailedError:
        rejected = True
    assert rejected
    assert await handle.execute_update(flows.Updates.add, 2) == 4
    assert await handle.execute_update(flows.Updates.add, 3) == 10
    await handle.result()


async def _cancel(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.cancel()
    await handle.result()


PROGRAMS: dict[str, tuple[type, list[Any], Program]] = {
    "one_activity": (flows.OneActivity, [], _wait),
    "retried_activity": (flows.RetriedActivity, [], _wait),
    "failed_activity_caught": (flows.FailedActivityCaught, [], _wait),
    "cancelled_activity": (flows.CancelledActivity, [], _wait),
    "fan_out": (flows.FanOut, [], _wait),
    "timers": (flows.Timers, [], _wait),
    "signals": (flows.Signals, [], _signal),
    "updates": (flows.Updates, [], _update),
    "children": (flows.Children, [], _wait),
    "continue_as_new": (flows.Continues, [1], _wait),
    "cancelled": (flows.Cancelled, [], _cancel),
    "local_activity": (flows.Local, [], _wait),
    "patched": (flows.Patched, [], _wait),
    "remembers": (flows.Remembers, [], _wait),
    "fails": (flows.Fails, [], _expect_failure),
    "workflow_retry": (flows.FailsTwiceThenEnds, [], _wait),
}


async def play(client: Client, name: str) -> WorkflowHistory:
    """Runs one program to its end; the history of its first run."""
    flow, args, program = PROGRAMS[name]
    policy = RetryPolicy(maximum_attempts=3) if name == "workflow_retry" else None
    handle = await client.start_workflow(
        flow.__name__, args=args, id=f"golden-{name}", task_queue="golden", retry_policy=policy
    )
    typed: WorkflowHandle[Any, Any] = client.get_workflow_handle(
        handle.id, first_execution_run_id=handle.first_execution_run_id
    )
    await program(typed)
    return await client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id).fetch_history()


def worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue="golden",
        workflows=flows.WORKFLOWS,
        activities=flows.ACTIVITIES,
        build_id="golden",
        disable_eager_activity_execution=True,
    )


def without_stacks(value: Any) -> Any:
    """Stack traces name the files of the machine that recorded; replay does not look at them."""
    if isinstance(value, dict):
        return {k: without_stacks(v) for k, v in value.items() if k != "stackTrace"}
    return [without_stacks(v) for v in value] if isinstance(value, list) else value


async def record(client: Client) -> None:
    async with worker(client):
        for name in PROGRAMS:
            history = await play(client, name)
            text = json.dumps(without_stacks(history.to_json_dict()), indent=1, sort_keys=True)
            (FOLDER / f"{name}.json").write_text(text + "\n")


def main() -> None:
    from perdure.frontend.host import EngineHost

    with tempfile.TemporaryDirectory() as folder, EngineHost(Path(folder) / "history.duckdb") as host:

        async def run() -> None:
            await record(
                await Client.connect(host.address, api_key=host.token, tls=False, identity="recorder")
            )

        asyncio.run(run())


if __name__ == "__main__":
    main()
