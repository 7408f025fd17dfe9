"""Queries that meet a workflow task which does not come to an end."""

from __future__ import annotations

import asyncio

import pytest
from engine_driver import Driver, in_engine, payload
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND


def query() -> QueryWorkflowRequest:
    request = QueryWorkflowRequest(namespace="default")
    request.execution.workflow_id, request.query.query_type = "w", "state"
    return request


@in_engine
async def test_a_query_that_waits_rides_on_attempt_after_attempt(driver: Driver) -> None:
    with driver.clock.held():
        await driver.start()
        waiting = asyncio.create_task(driver.call("QueryWorkflow", query()))
        for _ in range(3):
            await driver.workflow_task()
            driver.clock.advance(10 * SECOND)
            for _ in range(10):
                await asyncio.sleep(0)
        task = await driver.workflow_task()
        assert task.attempt == 4
        with pytest.raises(ServiceError, match="Workflow Task in failed state") as error:
            await driver.call("QueryWorkflow", query())  # one that comes now does not wait
        assert error.value.code is Code.FAILED_PRECONDITION
        [query_id] = task.queries
        await driver.complete(
            task, query_results={query_id: WorkflowQueryResult(result_type=1, answer=payload("yes"))}
        )
        assert (await waiting).query_result == payload("yes")
