"""The handshake, and the cluster. TEMPORAL.md, sections 1.1 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.operatorservice.v1 import ClusterMetadata, ListClustersRequest, ListClustersResponse
from temporalio.api.workflowservice.v1 import (
    GetClusterInfoRequest,
    GetClusterInfoResponse,
    GetSystemInfoRequest,
    GetSystemInfoResponse,
)

from perdure.engine.namespaces import CLUSTER
from perdure.engine.rpc.common import Handlers

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

SERVER_VERSION = "1.32.0"  # Temporal's server whose behaviour the engine follows
_CLUSTER_ID = "perdure"
_CLIENTS = ("cli", "dotnet", "go", "java", "php", "python", "ruby", "server", "typescript")


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
            supports_schedules=engine.service.answers("CreateSchedule"),
            server_scaled_deployments=engine.service.answers("SetWorkerDeploymentCurrentVersion"),
            nexus=engine.service.answers("CreateNexusEndpoint"),
            build_id_based_versioning=True,  # or workers do not tell their build ids
            count_group_by_execution_status=True,
        ),
    )


async def get_cluster_info(
    engine: Engine, request: GetClusterInfoRequest, metadata: Mapping[str, str]
) -> GetClusterInfoResponse:
    return GetClusterInfoResponse(
        server_version=SERVER_VERSION,
        cluster_id=_CLUSTER_ID,
        cluster_name=CLUSTER,
        history_shard_count=1,
        persistence_store="duckdb",
        visibility_store="duckdb",
        initial_failover_version=1,
        failover_version_increment=10,
        supported_clients={f"temporal-{name}": "<2.0.0" for name in _CLIENTS} | {"temporal-ui": "<3.0.0"},
    )


async def list_clusters(
    engine: Engine, request: ListClustersRequest, metadata: Mapping[str, str]
) -> ListClustersResponse:
    """This one."""
    here = ClusterMetadata(
        cluster_name=CLUSTER,
        cluster_id=_CLUSTER_ID,
        initial_failover_version=1,
        history_shard_count=1,
        is_connection_enabled=True,
    )
    return ListClustersResponse(clusters=[here])


HANDLERS: Handlers = {
    "GetSystemInfo": get_system_info,
    "GetClusterInfo": get_cluster_info,
    "ListClusters": list_clusters,
}
