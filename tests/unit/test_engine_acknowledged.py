"""Nobody is told what a crash may still take back: not who asks again, and not who is refused for what somebody else did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_driver import Driver, in_engine
from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    CreateWorkerDeploymentRequest,
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    SetWorkerDeploymentManagerRequest,
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartBatchOperationRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure.engine.errors import ServiceError
from perdure.engine.protos import SECOND, duration

HOUR = 3600 * SECOND


def _schedule() -> CreateScheduleRequest:
    request = CreateScheduleRequest(namespace="default", schedule_id="s", request_id="r")
    request.schedule.spec.interval.add().interval.CopyFrom(duration(HOUR))
    action = request.schedule.action.start_workflow
    action.workflow_id, action.workflow_type.name, action.task_queue.name = "w", "T", "q"
    return request


def _start(workflow_id: str, request_id: str) -> StartWorkflowExecutionRequest:
    request = StartWorkflowExecutionRequest(
        namespace="default", workflow_id=workflow_id, request_id=request_id
    )
    request.workflow_type.name, request.task_queue.name = "T", "q"
    return request


def _signal_with_start() -> SignalWithStartWorkflowExecutionRequest:
    request = SignalWithStartWorkflowExecutionRequest(
        namespace="default", workflow_id="open", signal_name="go", request_id="r"
    )
    request.workflow_type.name, request.task_queue.name = "T", "q"
    return request


_ATTRIBUTES = {"Colour": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
_OPEN = WorkflowExecution(workflow_id="open")
_NAMESPACE = RegisterNamespaceRequest(namespace="n", workflow_execution_retention_period=duration(24 * HOUR))
_BATCH = StartBatchOperationRequest(
    namespace="default", job_id="j", reason="why", visibility_query="WorkflowId = 'none'"
)
_BATCH.termination_operation.identity = "me"
_DEPLOYMENT = CreateWorkerDeploymentRequest(namespace="default", deployment_name="d", request_id="r")

TWICE: dict[str, tuple[Message, Message]] = {  # what is done, and what tells of it
    "a start, again": (_start("new", "r"), _start("new", "r")),
    "a start, refused": (_start("new", "r"), _start("new", "other")),
    "a signal, again": (
        *(
            2
            * (
                SignalWorkflowExecutionRequest(
                    namespace="default", workflow_execution=_OPEN, signal_name="go", request_id="r"
                ),
            )
        ),
    ),
    "signal-with-start, again": (_signal_with_start(), _signal_with_start()),
    "a termination, refused": (
        *(2 * (TerminateWorkflowExecutionRequest(namespace="default", workflow_execution=_OPEN),)),
    ),
    "a schedule, again": (_schedule(), _schedule()),
    "a namespace, refused": (_NAMESPACE, _NAMESPACE),
    "a namespace, shown": (_NAMESPACE, DescribeNamespaceRequest(namespace="n")),
    "a search attribute, again": (
        *(2 * (AddSearchAttributesRequest(namespace="default", search_attributes=_ATTRIBUTES),)),
    ),
    "a search attribute, shown": (
        AddSearchAttributesRequest(namespace="default", search_attributes=_ATTRIBUTES),
        ListSearchAttributesRequest(namespace="default"),
    ),
    "a batch operation, refused": (_BATCH, _BATCH),
    "a deployment, again": (_DEPLOYMENT, _DEPLOYMENT),
    "a deployment's manager, again": (
        *(
            2
            * (
                SetWorkerDeploymentManagerRequest(
                    namespace="default", deployment_name="known", manager_identity="me"
                ),
            )
        ),
    ),
}


@pytest.mark.parametrize("what", list(TWICE))
def test_what_is_told_is_in_the_file(what: str) -> None:
    first, second = TWICE[what]

    @in_engine
    async def told(d: Driver) -> None:
        await d.start("open")
        await d.call("CreateWorkerDeployment", _deployment("known"))
        d.journal.hold()
        answers = [asyncio.ensure_future(_ask(d, each)) for each in (first, second)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(answer.done() for answer in answers)
        d.journal.release()
        await asyncio.gather(*answers)

    told()


def _deployment(name: str) -> CreateWorkerDeploymentRequest:
    return CreateWorkerDeploymentRequest(namespace="default", deployment_name=name, request_id=name)


async def _ask(d: Driver, request: Message) -> Any:
    """Its answer, or what it is refused with."""
    try:
        return await d.call(type(request).__name__.removesuffix("Request"), request)
    except ServiceError as error:
        return error
