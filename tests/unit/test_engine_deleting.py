"""Deleting runs: nothing of them is left, and their ids are free."""

from __future__ import annotations

import pytest
from engine_driver import Driver, complete_workflow, in_engine, start_child
from temporalio.api.enums.v1 import WorkflowIdReusePolicy
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, DeleteWorkflowExecutionRequest

from perdure.engine.errors import Code, ServiceError


async def delete(driver: Driver, workflow_id: str = "w", run_id: str = "") -> None:
    request = DeleteWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id, request.workflow_execution.run_id = workflow_id, run_id
    await driver.call("DeleteWorkflowExecution", request)


async def count(driver: Driver) -> int:
    ask = CountWorkflowExecutionsRequest(namespace="default")
    return int((await driver.call("CountWorkflowExecutions", ask)).count)


@in_engine
async def test_an_open_run_is_ended_and_gone(driver: Driver) -> None:
    run_id = await driver.start()
    await delete(driver)
    assert await count(driver) == 0
    for wanted in ("", run_id):
        with pytest.raises(
            ServiceError, match=r'workflow (execution )?not found for (workflow )?ID:? "?w'
        ) as refusal:
            await driver.history("w", wanted)
        assert refusal.value.code is Code.NOT_FOUND
    with pytest.raises(ServiceError, match="workflow not found for ID: w"):
        await delete(driver)
    successor = await driver.crash()
    assert await count(successor) == 0
    await successor.engine.stop()


@in_engine
async def test_the_id_may_be_used_again_as_if_for_the_first_time(driver: Driver) -> None:
    await driver.start()
    await driver.step(complete_workflow())
    await delete(driver)
    policy = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    await driver.start(workflow_id_reuse_policy=policy)


@in_engine
async def test_one_run_of_several(driver: Driver) -> None:
    first = await driver.start()
    await driver.step(complete_workflow())
    second = await driver.start()
    await driver.step(complete_workflow())
    await delete(driver)  # the current run
    assert await count(driver) == 1
    assert (await driver.engine.runs.latest("default", "w")).ex.run_id == first  # type: ignore[union-attr]
    with pytest.raises(ServiceError, match="workflow execution not found"):
        await driver.history("w", second)
    await delete(driver, run_id=first)
    assert await count(driver) == 0


@in_engine
async def test_a_parent_learns_that_its_child_has_ended(driver: Driver) -> None:
    await driver.start()
    await driver.step(start_child())
    await delete(driver, "child")
    assert "ChildWorkflowExecutionTerminated" in await driver.names()
