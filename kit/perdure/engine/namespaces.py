"""Namespaces: what each one says of itself, and how requests change it. Pure. TEMPORAL.md, section 1.1.

"default" is there from the beginning, and stays. `namespace_registry` keeps them.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import ArchivalState, NamespaceState, ReplicationState
from temporalio.api.errordetails.v1 import NamespaceInvalidStateFailure, NamespaceNotFoundFailure
from temporalio.api.replication.v1 import ClusterReplicationConfig
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceResponse,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)

from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.limits import Limits
from perdure.engine.protos import SECOND, duration, from_duration, timestamp

DEFAULT_NAMESPACE: Final = "default"
CLUSTER: Final = "active"

_DEFAULT_ID: Final = "00000000-0000-7000-8000-000000000001"
_FOR_EVER: Final = 36_500 * 24 * 3600 * SECOND  # nothing is ever removed by age
_LEAST_RETENTION: Final = 3600 * SECOND
_MOST_BAD_BINARIES: Final = 10
_State = NamespaceState
_STATES: Final = {  # which state may follow which
    _State.NAMESPACE_STATE_REGISTERED: (_State.NAMESPACE_STATE_DEPRECATED, _State.NAMESPACE_STATE_DELETED),
    _State.NAMESPACE_STATE_DEPRECATED: (_State.NAMESPACE_STATE_DELETED,),
}


def no_namespace(name: str) -> ServiceError:
    return not_found(f"Namespace {name} is not found.", NamespaceNotFoundFailure(namespace=name))


def wrong_state(name: str, state: NamespaceState.ValueType) -> ServiceError:
    word = NamespaceState.Name(state).removeprefix("NAMESPACE_STATE_").capitalize()
    return ServiceError(
        Code.FAILED_PRECONDITION,
        f"Namespace has invalid state: {word}. Must be Registered.",
        NamespaceInvalidStateFailure(
            namespace=name, state=state, allowed_states=[_State.NAMESPACE_STATE_REGISTERED]
        ),
    )


# --- decisions


def register(request: RegisterNamespaceRequest, id: str, limits: Limits) -> DescribeNamespaceResponse:
    """A new namespace. Raises INVALID_ARGUMENT."""
    if not request.namespace:
        raise invalid("Namespace not set on request.")
    if len(request.namespace.encode()) > limits.id_length:
        raise invalid("Namespace length exceeds limit.")
    if request.is_global_namespace:
        raise invalid("Cannot register global namespace when not enabled")
    _check_retention(request.workflow_execution_retention_period)
    for cluster in (request.active_cluster_name, *(each.cluster_name for each in request.clusters)):
        _check_cluster(cluster)
    found = _plain(request.namespace, id, from_duration(request.workflow_execution_retention_period))
    info = found.namespace_info
    info.description, info.owner_email = request.description, request.owner_email
    found.replication_config.state = ReplicationState.REPLICATION_STATE_NORMAL
    info.data.update(request.data)
    return found


def update(
    before: DescribeNamespaceResponse, request: UpdateNamespaceRequest, now: int
) -> DescribeNamespaceResponse:
    """The namespace with what the request changes. Raises INVALID_ARGUMENT."""
    found = DescribeNamespaceResponse()
    found.CopyFrom(before)
    if request.HasField("update_info"):
        _update_info(found, request)
    if request.HasField("config"):
        _update_config(found, request, now)
    binaries = found.config.bad_binaries.binaries
    if request.delete_bad_binary:
        if request.delete_bad_binary not in binaries:
            raise invalid(f"Bad binary checksum {request.delete_bad_binary} doesn't exists.")
        del binaries[request.delete_bad_binary]
    for cluster in (
        request.replication_config.active_cluster_name,
        *(each.cluster_name for each in request.replication_config.clusters),
    ):
        _check_cluster(cluster)
    if request.promote_namespace:
        raise invalid(
            "global namespace is not enabled on this cluster, cannot update global namespace or promote local "
            f"namespace: {request.namespace}"
        )
    return found


def _update_info(found: DescribeNamespaceResponse, request: UpdateNamespaceRequest) -> None:
    info, changed = found.namespace_info, request.update_info
    info.description = changed.description or info.description
    info.owner_email = changed.owner_email or info.owner_email
    info.data.update(changed.data)
    if changed.state and changed.state != info.state:
        if changed.state not in _STATES.get(info.state, ()):
            raise invalid("Invalid namespace state update.")
        info.state = changed.state


def _update_config(found: DescribeNamespaceResponse, request: UpdateNamespaceRequest, now: int) -> None:
    config, changed = found.config, request.config
    if changed.HasField("workflow_execution_retention_ttl"):
        _check_retention(changed.workflow_execution_retention_ttl)
        config.workflow_execution_retention_ttl.CopyFrom(changed.workflow_execution_retention_ttl)
    for checksum, binary in changed.bad_binaries.binaries.items():
        config.bad_binaries.binaries[checksum].CopyFrom(binary)
        config.bad_binaries.binaries[checksum].create_time.CopyFrom(timestamp(now))
    if len(config.bad_binaries.binaries) > _MOST_BAD_BINARIES:
        raise invalid(f"Total resetBinaries cannot exceed the max limit: {_MOST_BAD_BINARIES}")


def deprecate(before: DescribeNamespaceResponse) -> DescribeNamespaceResponse:
    found = DescribeNamespaceResponse()
    found.CopyFrom(before)
    found.namespace_info.state = _State.NAMESPACE_STATE_DEPRECATED
    return found


def deleted_name(found: DescribeNamespaceResponse) -> str:
    """What the server calls a namespace while it is taken away."""
    return f"{found.namespace_info.name}-deleted-{found.namespace_info.id[:5]}"


def _check_retention(retention: Duration) -> None:
    if from_duration(retention) < _LEAST_RETENTION:
        raise invalid("A valid retention period is not set on request.")


def _check_cluster(name: str) -> None:
    if name not in ("", CLUSTER):
        raise invalid(f"Invalid cluster name: {name}")


def default() -> DescribeNamespaceResponse:
    found = _plain(DEFAULT_NAMESPACE, _DEFAULT_ID, _FOR_EVER)
    found.namespace_info.description = "the namespace of this perdure file"
    return found


def _plain(name: str, id: str, retention: int) -> DescribeNamespaceResponse:
    found = DescribeNamespaceResponse()
    info = found.namespace_info
    info.name, info.id, info.state = name, id, _State.NAMESPACE_STATE_REGISTERED
    config = found.config
    config.workflow_execution_retention_ttl.CopyFrom(duration(retention))
    config.history_archival_state = config.visibility_archival_state = ArchivalState.ARCHIVAL_STATE_DISABLED
    config.bad_binaries.SetInParent()
    found.replication_config.active_cluster_name = CLUSTER
    found.replication_config.clusters.append(ClusterReplicationConfig(cluster_name=CLUSTER))
    return found
