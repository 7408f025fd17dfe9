"""Standalone activities in a real file: what is committed is found again, by the engine and by SQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeActivityExecutionRequest,
    PauseActivityExecutionRequest,
    PollActivityTaskQueueRequest,
    RecordActivityTaskHeartbeatRequest,
    RequestCancelActivityExecutionRequest,
    RespondActivityTaskFailedRequest,
    StartActivityExecutionRequest,
)

from perdure.engine.engine import Engine
from perdure.engine.protos import SECOND, duration
from perdure.store import Store


async def _start(engine: Engine, activity_id: str) -> None:
    request = StartActivityExecutionRequest(namespace="default", activity_id=activity_id)
    request.activity_type.name, request.task_queue.name = "charge", "queue"
    request.start_to_close_timeout.CopyFrom(duration(60 * SECOND))
    request.retry_policy.initial_interval.CopyFrom(duration(3600 * SECOND))
    await engine.service.call("StartActivityExecution", request)


async def _take(engine: Engine) -> Any:
    poll = PollActivityTaskQueueRequest(
        namespace="default", task_queue=TaskQueue(name="queue"), identity="me"
    )
    return await engine.service.call("PollActivityTaskQueue", poll, {"client-name": "test"})


async def _describe(engine: Engine, activity_id: str) -> Any:
    request = DescribeActivityExecutionRequest(
        namespace="default", activity_id=activity_id, include_last_failure=True, include_outcome=True
    )
    answer: Any = await engine.service.call("DescribeActivityExecution", request)
    answer.long_poll_token = b""
    return answer


async def _live(path: Path) -> dict[str, Any]:
    store = Store.open(path)
    engine = Engine(store)
    await engine.start()
    await _start(engine, "paused")
    task = await _take(engine)
    beat = RecordActivityTaskHeartbeatRequest(namespace="default", task_token=task.task_token)
    await engine.service.call("RecordActivityTaskHeartbeat", beat)
    failed = RespondActivityTaskFailedRequest(namespace="default", task_token=task.task_token)
    failed.failure.CopyFrom(Failure(message="boom"))
    failed.failure.application_failure_info.type = "ValueError"
    await engine.service.call("RespondActivityTaskFailed", failed)
    pause = PauseActivityExecutionRequest(namespace="default", activity_id="paused", reason="why")
    await engine.service.call("PauseActivityExecution", pause)
    await _start(engine, "canceled")
    cancel = RequestCancelActivityExecutionRequest(
        namespace="default", activity_id="canceled", identity="op", reason="enough"
    )
    await engine.service.call("RequestCancelActivityExecution", cancel)
    described = {id_: await _describe(engine, id_) for id_ in ("paused", "canceled")}
    await engine.stop()
    store.close()
    return described


async def _again(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    store = Store.open(path)
    engine = Engine(store)
    await engine.start()
    described = {id_: await _describe(engine, id_) for id_ in ("paused", "canceled")}
    query = "SELECT activity_id, status, attempts, last_failure FROM activities ORDER BY activity_id"
    rows = store.sql(query).to_dict("records")
    await engine.stop()
    store.close()
    return described, rows


def test_a_file_gives_back_what_the_engine_knew(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    live = asyncio.run(_live(path))
    again, rows = asyncio.run(_again(path))
    assert again == live
    assert [(row["activity_id"], row["status"], row["attempts"]) for row in rows] == [
        ("canceled", "Canceled", 0),
        ("paused", "Paused", 1),
    ]
    assert rows[1]["last_failure"] == "ValueError: boom"
