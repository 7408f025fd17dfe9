"""The handshake, namespaces, the cluster. TEMPORAL.md, sections 1.1 and 3."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import ArchivalState, NamespaceState
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.namespace.v1 import NamespaceConfig, NamespaceInfo
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest, ListSearchAttributesResponse
from temporalio.api.replication.v1 import ClusterReplicationConfig, NamespaceReplicationConfig
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetClusterInfoRequest,
    GetClusterInfoResponse,
    GetSystemInfoRequest,
    GetSystemInfoResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
)

from perdure.engine.errors import not_found
from perdure.engine.protos import SECOND, duration
from perdure.engine.rpc.common import Handlers

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

SERVER_VERSION = "1.32.0"  # Temporal's server whose behaviour the engine follows
NAMESPACE = "default"
_NAMESPACE_ID = "00000000-0000-7000-8000-000000000001"
_DAY = 24 * 3600 * SECOND


def check_namespace(namespace: str) -> None:
    """Raises NOT_FOUND for a namespace that is not there; workers look at the detail."""
    if namespace != NAMESPACE:
        raise not_found(
            f"Namespace {namespace} is not found.",
            NamespaceNotFoundFailure(namespace=namespace),
        )


async def get_system_info(
    engine: Engine, request: GetSystemInfoRequest, metadata: Mapping[str, str]
) -> GetSystemInfoResponse:
    return GetSystemInfoResponse(
        server_version=SERVER_VERSION,
        capabilities=GetSystemInfoResponse.Capabilities(
            signal_and_query_header=True,
            internal_error_differentiation=True,
            activity_failure_include_heartbeat=True,
            encoded_failure_attributes=True,
            upsert_memo=True,
            eager_workflow_start=True,
            sdk_metadata=True,
            build_id_based_versioning=True,  # or workers do not tell their build ids
            count_group_by_execution_status=True,
        ),
    )


def _describe() -> DescribeNamespaceResponse:
    info = NamespaceInfo(
        name=NAMESPACE,
        state=NamespaceState.NAMESPACE_STATE_REGISTERED,
        description="the namespace of this perdure file",
        id=_NAMESPACE_ID,
    )
    info.capabilities.eager_workflow_start = True
    info.capabilities.sync_update = True
    info.capabilities.async_update = True
    info.capabilities.worker_poll_complete_on_shutdown = True
    info.limits.blob_size_limit_error = 2 * 1024 * 1024
    info.limits.memo_size_limit_error = 2 * 1024 * 1024
    config = NamespaceConfig(
        workflow_execution_retention_ttl=duration(36_500 * _DAY),  # nothing is ever removed by age
        history_archival_state=ArchivalState.ARCHIVAL_STATE_DISABLED,
        visibility_archival_state=ArchivalState.ARCHIVAL_STATE_DISABLED,
    )
    return DescribeNamespaceResponse(
        namespace_info=info,
        config=config,
        replication_config=NamespaceReplicationConfig(
            active_cluster_name="active", clusters=[ClusterReplicationConfig(cluster_name="active")]
        ),
    )


async def describe_namespace(
    engine: Engine, request: DescribeNamespaceRequest, metadata: Mapping[str, str]
) -> DescribeNamespaceResponse:
    if not request.namespace and request.id != _NAMESPACE_ID:
        raise not_found(f"Namespace with id {request.id!r} is not found.", NamespaceNotFoundFailure())
    return _describe()


async def list_namespaces(
    engine: Engine, request: ListNamespacesRequest, metadata: Mapping[str, str]
) -> ListNamespacesResponse:
    return ListNamespacesResponse(namespaces=[_describe()])


async def get_cluster_info(
    engine: Engine, request: GetClusterInfoRequest, metadata: Mapping[str, str]
) -> GetClusterInfoResponse:
    return GetClusterInfoResponse(
        server_version=SERVER_VERSION,
        cluster_id="perdure",
        cluster_name="active",
        history_shard_count=1,
        persistence_store="duckdb",
        visibility_store="duckdb",
        supported_clients={"temporal-python": f"python {platform.python_version()}"},
    )


async def list_search_attributes(
    engine: Engine, request: ListSearchAttributesRequest, metadata: Mapping[str, str]
) -> ListSearchAttributesResponse:
    """None are registered: attributes are taken with the type that they come with."""
    return ListSearchAttributesResponse()


HANDLERS: Handlers = {
    "GetSystemInfo": get_system_info,
    "DescribeNamespace": describe_namespace,
    "ListNamespaces": list_namespaces,
    "GetClusterInfo": get_cluster_info,
    "ListSearchAttributes": list_search_attributes,
}
