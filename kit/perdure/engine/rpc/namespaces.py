"""Namespaces as callers see them. TEMPORAL.md, sections 1.1 and 3.

What a namespace can do is told by what the service answers: a capability is true when the RPC behind it is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from temporalio.api.errordetails.v1 import NamespaceAlreadyExistsFailure
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest, DeleteNamespaceResponse
from temporalio.api.workflowservice.v1 import (
    DeprecateNamespaceRequest,
    DeprecateNamespaceResponse,
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    RegisterNamespaceRequest,
    RegisterNamespaceResponse,
    UpdateNamespaceRequest,
    UpdateNamespaceResponse,
)

from perdure.engine import namespaces
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.namespaces import DEFAULT_NAMESPACE, no_namespace
from perdure.engine.rpc.common import Handlers
from perdure.engine.rpc.deleting import delete_all
from perdure.errors import StoreError

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_PAGE: Final = 100
_CAPABILITIES: Final = {  # -> the RPC without which it is none
    "worker_heartbeats": "RecordWorkerHeartbeat",
    "workflow_pause": "PauseWorkflowExecution",
    "standalone_activities": "StartActivityExecution",
    "standalone_activity_start_delay": "StartActivityExecution",
    "standalone_activity_operator_commands": "PauseActivityExecution",
    "standalone_activity_batch_operations": "TerminateActivityExecution",
}


def _described(engine: Engine, found: DescribeNamespaceResponse) -> DescribeNamespaceResponse:
    """A namespace with its capabilities and limits."""
    described = DescribeNamespaceResponse()
    described.CopyFrom(found)
    info = described.namespace_info
    info.supports_schedules = engine.service.answers("CreateSchedule")
    can = info.capabilities
    can.poller_autoscaling = True
    can.eager_workflow_start = can.sync_update = can.async_update = can.worker_poll_complete_on_shutdown = (
        True
    )
    for capability, method in _CAPABILITIES.items():
        setattr(can, capability, engine.service.answers(method))
    info.limits.blob_size_limit_error = engine.limits.blob_error
    info.limits.memo_size_limit_error = engine.limits.memo_error
    return described


def _named(engine: Engine, name: str) -> DescribeNamespaceResponse:
    if not name:
        raise invalid("Namespace not set on request.")
    found = engine.namespaces.find(name)
    if found is None:
        raise no_namespace(name)
    return found


async def describe_namespace(
    engine: Engine, request: DescribeNamespaceRequest, metadata: Mapping[str, str]
) -> DescribeNamespaceResponse:
    if not request.id:
        return _described(engine, _named(engine, request.namespace))
    if request.namespace:
        raise invalid("GetNamespace operation failed. Both ID and Name specified in request.")
    found = engine.namespaces.find_id(request.id)
    if found is None:
        raise no_namespace(request.id)
    return _described(engine, found)


async def list_namespaces(
    engine: Engine, request: ListNamespacesRequest, metadata: Mapping[str, str]
) -> ListNamespacesResponse:
    found = engine.namespaces.all()
    if request.next_page_token:
        names = [each.namespace_info.name.encode() for each in found]
        if request.next_page_token not in names:
            raise invalid("Invalid NextPageToken.")
        found = found[names.index(request.next_page_token) + 1 :]
    size = request.page_size if request.page_size > 0 else _PAGE
    more = len(found) > size
    return ListNamespacesResponse(
        namespaces=[_described(engine, each) for each in found[:size]],
        next_page_token=found[size - 1].namespace_info.name.encode() if more else b"",
    )


async def register_namespace(
    engine: Engine, request: RegisterNamespaceRequest, metadata: Mapping[str, str]
) -> RegisterNamespaceResponse:
    found = namespaces.register(request, str(uuid.uuid4()), engine.limits)
    if engine.namespaces.find(request.namespace) or request.namespace in engine.namespaces.leaving():
        raise ServiceError(
            Code.ALREADY_EXISTS,
            f'Namespace "{request.namespace}" already exists',
            NamespaceAlreadyExistsFailure(),
        )
    await engine.journal.durable(engine.namespaces.put(found))
    return RegisterNamespaceResponse()


async def update_namespace(
    engine: Engine, request: UpdateNamespaceRequest, metadata: Mapping[str, str]
) -> UpdateNamespaceResponse:
    before = _named(engine, request.namespace)
    found = namespaces.update(before, request, engine.clock.now())
    if found != before:
        await engine.journal.durable(engine.namespaces.put(found))
    described = _described(engine, found)
    return UpdateNamespaceResponse(
        namespace_info=described.namespace_info,
        config=described.config,
        replication_config=described.replication_config,
    )


async def deprecate_namespace(
    engine: Engine, request: DeprecateNamespaceRequest, metadata: Mapping[str, str]
) -> DeprecateNamespaceResponse:
    found = namespaces.deprecate(_named(engine, request.namespace))
    await engine.journal.durable(engine.namespaces.put(found))
    return DeprecateNamespaceResponse()


async def delete_namespace(
    engine: Engine, request: DeleteNamespaceRequest, metadata: Mapping[str, str]
) -> DeleteNamespaceResponse:
    """Deletes the namespace with all that is in it, at once."""
    if request.namespace and request.namespace_id:
        raise invalid("Only one of namespace name or Id should be set on request.")
    if request.namespace_id:
        found = engine.namespaces.find_id(request.namespace_id)
        if found is None:
            raise no_namespace(request.namespace_id)
    else:
        found = _named(engine, request.namespace)
    name = found.namespace_info.name
    if name == DEFAULT_NAMESPACE:
        raise ServiceError(
            Code.FAILED_PRECONDITION, f"unable to delete namespace {name}: every perdure file has it"
        )
    engine.namespaces.leave(name)  # nothing is started there from now on
    await _delete_rest(engine, name)
    return DeleteNamespaceResponse(deleted_namespace=namespaces.deleted_name(found))


async def _delete_rest(engine: Engine, name: str) -> None:
    """Deletes all that is in a namespace which is gone already."""
    engine.batches.forget(name)
    await delete_all(engine, name)
    engine.search_attributes.forget(name)
    engine.deployments.forget(name)
    engine.matching.forget_limits(name)
    await engine.journal.durable(engine.namespaces.left(name))


def resume_deletions(engine: Engine) -> None:
    """At the engine's start: namespaces that were being deleted when it stopped."""
    for name in engine.namespaces.leaving():
        engine.run_aside(_go_on_deleting(engine, name), f"perdure-delete-{name}")


async def _go_on_deleting(engine: Engine, name: str) -> None:
    try:
        await _delete_rest(engine, name)
    except StoreError:
        return  # nothing can be kept any more; the next engine goes on


HANDLERS: Handlers = {
    "DescribeNamespace": describe_namespace,
    "ListNamespaces": list_namespaces,
    "RegisterNamespace": register_namespace,
    "UpdateNamespace": update_namespace,
    "DeprecateNamespace": deprecate_namespace,
    "DeleteNamespace": delete_namespace,
}
