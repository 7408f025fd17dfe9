"""Namespaces: registered, changed, deprecated, deleted, and apart from one another."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any

import pytest
from engine_driver import Driver, in_engine
from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, IndexedValueType, NamespaceState
from temporalio.api.errordetails.v1 import NamespaceInvalidStateFailure, NamespaceNotFoundFailure
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    DeleteNamespaceRequest,
    ListClustersRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CreateWorkerDeploymentRequest,
    DeprecateNamespaceRequest,
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetClusterInfoRequest,
    ListNamespacesRequest,
    RegisterNamespaceRequest,
    StartWorkflowExecutionRequest,
    UpdateNamespaceRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.service import Service
from perdure.testing import MemoryJournal

DAY = Duration(seconds=86_400)


async def register(driver: Driver, name: str = "team", **fields: Any) -> None:
    fields.setdefault("workflow_execution_retention_period", DAY)
    await driver.call("RegisterNamespace", RegisterNamespaceRequest(namespace=name, **fields))


async def describe(driver: Driver, name: str = "team") -> DescribeNamespaceResponse:
    return await driver.call("DescribeNamespace", DescribeNamespaceRequest(namespace=name))  # type: ignore[no-any-return]


async def start_in(driver: Driver, namespace: str, workflow_id: str = "w") -> None:
    request = StartWorkflowExecutionRequest(namespace=namespace, workflow_id=workflow_id, request_id="r")
    request.workflow_type.name, request.task_queue.name = "Flow", "queue"
    await driver.call("StartWorkflowExecution", request)


async def refused(driver: Driver, method: str, request: Any) -> ServiceError:
    with pytest.raises(ServiceError) as refusal:
        await driver.call(method, request)
    return refusal.value


@in_engine
async def test_default_is_always_there(driver: Driver) -> None:
    found = await describe(driver, "default")
    assert found.namespace_info.state == NamespaceState.NAMESPACE_STATE_REGISTERED
    assert found.namespace_info.limits.blob_size_limit_error == 2 * 1024 * 1024
    by_id = DescribeNamespaceRequest(id=found.namespace_info.id)
    assert await driver.call("DescribeNamespace", by_id) == found
    error = await refused(driver, "DeleteNamespace", DeleteNamespaceRequest(namespace="default"))
    assert error.code is Code.FAILED_PRECONDITION


@in_engine
async def test_capabilities_say_what_the_service_answers(driver: Driver) -> None:
    can = (await describe(driver, "default")).namespace_info.capabilities
    assert can.eager_workflow_start
    assert can.workflow_pause == Service.answers("PauseWorkflowExecution")
    assert can.standalone_activities == Service.answers("StartActivityExecution")
    assert can.worker_heartbeats == Service.answers("RecordWorkerHeartbeat")


@in_engine
async def test_a_namespace_is_registered_once_and_survives(driver: Driver) -> None:
    await register(driver, description="ours", owner_email="a@b", data={"k": "v"})
    error = await refused(
        driver,
        "RegisterNamespace",
        RegisterNamespaceRequest(namespace="team", workflow_execution_retention_period=DAY),
    )
    assert (error.code, error.message) == (Code.ALREADY_EXISTS, 'Namespace "team" already exists')
    successor = await driver.crash()
    info = (await describe(successor)).namespace_info
    assert (info.description, info.owner_email, dict(info.data)) == ("ours", "a@b", {"k": "v"})
    await successor.engine.stop()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"namespace": ""}, "Namespace not set on request."),
        ({"namespace": "n" * 1001}, "Namespace length exceeds limit."),
        (
            {"workflow_execution_retention_period": Duration(seconds=10)},
            "A valid retention period is not set on request.",
        ),
        ({"is_global_namespace": True}, "Cannot register global namespace when not enabled"),
        ({"active_cluster_name": "other"}, "Invalid cluster name: other"),
    ],
)
def test_what_cannot_be_registered(fields: dict[str, Any], text: str) -> None:
    @in_engine
    async def body(driver: Driver) -> None:
        request = RegisterNamespaceRequest(
            **{"namespace": "team", "workflow_execution_retention_period": DAY, **fields}
        )
        error = await refused(driver, "RegisterNamespace", request)
        assert (error.code, error.message) == (Code.INVALID_ARGUMENT, text)

    body()


@in_engine
async def test_an_update_merges(driver: Driver) -> None:
    await register(driver, data={"a": "1"})
    request = UpdateNamespaceRequest(namespace="team", update_info={"description": "new", "data": {"b": "2"}})
    request.config.workflow_execution_retention_ttl.CopyFrom(Duration(seconds=172_800))
    answer = await driver.call("UpdateNamespace", request)
    assert dict(answer.namespace_info.data) == {"a": "1", "b": "2"}
    assert answer.config.workflow_execution_retention_ttl.seconds == 172_800
    assert (await describe(driver)).namespace_info.description == "new"
    back = UpdateNamespaceRequest(namespace="team")
    for state in (NamespaceState.NAMESPACE_STATE_DELETED, NamespaceState.NAMESPACE_STATE_REGISTERED):
        back.update_info.state = state
        if state == NamespaceState.NAMESPACE_STATE_DELETED:
            await driver.call("UpdateNamespace", back)
    assert (await refused(driver, "UpdateNamespace", back)).message == "Invalid namespace state update."


@in_engine
async def test_nothing_is_started_in_a_deprecated_namespace(driver: Driver) -> None:
    await register(driver)
    await start_in(driver, "team", "before")
    await driver.call("DeprecateNamespace", DeprecateNamespaceRequest(namespace="team"))
    with pytest.raises(ServiceError) as refusal:
        await start_in(driver, "team")
    assert refusal.value.code is Code.FAILED_PRECONDITION
    assert isinstance(refusal.value.detail, NamespaceInvalidStateFailure)
    assert (
        await driver.call("CountWorkflowExecutions", CountWorkflowExecutionsRequest(namespace="team"))
    ).count


@in_engine
async def test_namespaces_are_apart(driver: Driver) -> None:
    await register(driver)
    await start_in(driver, "team")
    await start_in(driver, "default")
    add = AddSearchAttributesRequest(namespace="team", search_attributes={"Colour": 2})  # type: ignore[dict-item]
    await driver.call("AddSearchAttributes", add)
    for namespace, names in (("team", {"Colour"}), ("default", set())):
        counted = await driver.call(
            "CountWorkflowExecutions", CountWorkflowExecutionsRequest(namespace=namespace)
        )
        assert counted.count == 1
        listed = await driver.call("ListSearchAttributes", ListSearchAttributesRequest(namespace=namespace))
        assert set(listed.custom_attributes) == names


@in_engine
async def test_a_deleted_namespace_leaves_nothing(driver: Driver) -> None:
    await register(driver)
    await start_in(driver, "team")
    answer = await driver.call("DeleteNamespace", DeleteNamespaceRequest(namespace="team"))
    assert answer.deleted_namespace.startswith("team-deleted-")
    with pytest.raises(ServiceError) as refusal:
        await start_in(driver, "team")
    assert refusal.value.code is Code.NOT_FOUND
    assert isinstance(refusal.value.detail, NamespaceNotFoundFailure)
    assert not driver.journal.runs
    await register(driver)
    ask = CountWorkflowExecutionsRequest(namespace="team")
    assert (await driver.call("CountWorkflowExecutions", ask)).count == 0
    await start_in(driver, "team")


@in_engine
async def test_a_deletion_goes_on_after_a_crash(driver: Driver) -> None:
    await register(driver)
    for number in range(3):
        await start_in(driver, "team", f"w{number}")
    kind = {"Colour": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
    await driver.call(
        "AddSearchAttributes", AddSearchAttributesRequest(namespace="team", search_attributes=kind)
    )
    made = CreateWorkerDeploymentRequest(namespace="team", deployment_name="d", request_id="r")
    await driver.call("CreateWorkerDeployment", made)
    driver.engine.limits = replace(driver.engine.limits, visibility_page=1)
    files: list[MemoryJournal] = []
    driver.journal.observe = lambda records: files.append(copy.deepcopy(driver.journal))
    await driver.call("DeleteNamespace", DeleteNamespaceRequest(namespace="team"))
    again = RegisterNamespaceRequest(namespace="team", workflow_execution_retention_period=DAY)
    for file in files[:4]:  # gone, and its runs one by one
        file.observe = None
        assert file.kept()
        successor = Driver(file, driver.clock, driver.limits)
        await successor.engine.start()
        assert (await refused(successor, "RegisterNamespace", again)).code is Code.ALREADY_EXISTS
        for _ in range(50):
            await asyncio.sleep(0)
        assert not file.runs and not file.kept()
        await register(successor)
        await successor.engine.stop()


@in_engine
async def test_pages_of_namespaces(driver: Driver) -> None:
    for name in ("a", "b"):
        await register(driver, name)
    found, token = [], b""
    while True:
        page = await driver.call("ListNamespaces", ListNamespacesRequest(page_size=2, next_page_token=token))
        found += [each.namespace_info.name for each in page.namespaces]
        token = page.next_page_token
        if not token:
            break
    assert found == ["default", "a", "b"]


@in_engine
async def test_the_cluster_is_this_one(driver: Driver) -> None:
    cluster = await driver.call("GetClusterInfo", GetClusterInfoRequest())
    [here] = (await driver.call("ListClusters", ListClustersRequest())).clusters
    assert here.cluster_id == cluster.cluster_id
    assert here.is_connection_enabled


@in_engine
async def test_an_unknown_namespace_is_not_found(driver: Driver) -> None:
    for method, request in (
        ("DescribeNamespace", DescribeNamespaceRequest(namespace="nope")),
        ("UpdateNamespace", UpdateNamespaceRequest(namespace="nope")),
        ("DeleteNamespace", DeleteNamespaceRequest(namespace="nope")),
        ("CountWorkflowExecutions", CountWorkflowExecutionsRequest(namespace="nope")),
        ("ListSearchAttributes", ListSearchAttributesRequest(namespace="nope")),
    ):
        error = await refused(driver, method, request)
        assert (error.code, error.message) == (Code.NOT_FOUND, "Namespace nope is not found.")
        assert error.detail == NamespaceNotFoundFailure(namespace="nope")


@in_engine
async def test_a_workflow_reaches_no_other_namespace(d: Driver) -> None:
    """Temporal's own default."""
    await register(d, "other")
    await d.start()
    signal = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = signal.signal_external_workflow_execution_command_attributes
    attributes.namespace, attributes.signal_name = "other", "go"
    attributes.execution.workflow_id = "w"
    with pytest.raises(ServiceError, match="cross namespace commands are not allowed"):
        await d.step(signal)
    assert (await d.names())[-1] == "WorkflowTaskFailed"
