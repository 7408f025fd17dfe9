"""Worker deployments: their versions, and which of them are current or ramping. TEMPORAL.md, sections 1.8 and 19."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    CreateWorkerDeploymentRequest,
    CreateWorkerDeploymentResponse,
    CreateWorkerDeploymentVersionRequest,
    CreateWorkerDeploymentVersionResponse,
    DeleteWorkerDeploymentRequest,
    DeleteWorkerDeploymentResponse,
    DeleteWorkerDeploymentVersionRequest,
    DeleteWorkerDeploymentVersionResponse,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
    ListWorkerDeploymentsRequest,
    ListWorkerDeploymentsResponse,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentCurrentVersionResponse,
    SetWorkerDeploymentManagerRequest,
    SetWorkerDeploymentManagerResponse,
    SetWorkerDeploymentRampingVersionRequest,
    SetWorkerDeploymentRampingVersionResponse,
    UpdateWorkerDeploymentVersionMetadataRequest,
    UpdateWorkerDeploymentVersionMetadataResponse,
)

from perdure.engine import deployment_info, deployments
from perdure.engine.deployments import Change, Deployment, found
from perdure.engine.errors import invalid, not_found
from perdure.engine.journal import Scope
from perdure.engine.protos import SECOND
from perdure.engine.queue_config import KIND_OF_TYPE
from perdure.engine.rpc import task_queues
from perdure.engine.rpc.common import Handlers
from perdure.engine.task_queues import QueueKey
from perdure.engine.worker_versions import (
    UNVERSIONED,
    Version,
    check_name,
    dotted,
    parse_version,
    version_of,
    version_of_worker,
)

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_DRAINAGE_CHECKS = 180 * SECOND  # how often it is looked whether runs still need a version that is out of use
_DRAINING = WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING


def _named(text: str, message: WorkerDeploymentVersion, has_message: bool) -> Version:
    """The version that a request is about, in its older or its newer form."""
    if text:
        version = parse_version(text)
    elif not has_message:
        raise invalid("deployment version cannot be empty")
    else:
        version = version_of(message)
    if version is None:
        raise invalid("deployment version cannot be empty")
    return version


def _find(engine: Engine, namespace: str, name: str) -> Deployment:
    return found(engine.deployments.get(namespace, name), name)


async def _save(engine: Engine, namespace: str, deployment: Deployment, *build_ids: str) -> None:
    ticket = engine.deployments.save(namespace, deployment, *build_ids)
    engine.routing.changed(namespace)
    watch_drainage(engine, namespace, deployment)
    await engine.journal.durable(ticket)


# --- reading


async def describe_worker_deployment(
    engine: Engine, request: DescribeWorkerDeploymentRequest, metadata: Mapping[str, str]
) -> DescribeWorkerDeploymentResponse:
    deployment = _find(engine, request.namespace, request.deployment_name)
    return DescribeWorkerDeploymentResponse(
        conflict_token=deployment.token, worker_deployment_info=deployment_info.describe(deployment)
    )


async def describe_worker_deployment_version(
    engine: Engine, request: DescribeWorkerDeploymentVersionRequest, metadata: Mapping[str, str]
) -> DescribeWorkerDeploymentVersionResponse:
    version = _named(request.version, request.deployment_version, request.HasField("deployment_version"))
    deployment = engine.deployments.get(request.namespace, version.deployment_name)
    info = None if deployment is None else deployment.versions.get(version.build_id)
    if info is None:
        raise not_found("Worker Deployment Version not found")
    response = DescribeWorkerDeploymentVersionResponse(
        worker_deployment_version_info=deployment_info.describe_version(info)
    )
    for queue in info.task_queue_infos:
        shown = response.version_task_queues.add(name=queue.name, type=queue.type)
        if request.report_task_queue_stats:
            key = QueueKey(request.namespace, queue.name, KIND_OF_TYPE[queue.type])
            stats = task_queues.stats_of_version(engine, key, version)
            shown.stats.CopyFrom(stats.whole)
            for priority, each in stats.by_priority.items():
                shown.stats_by_priority_key[priority].CopyFrom(each)
    return response


async def list_worker_deployments(
    engine: Engine, request: ListWorkerDeploymentsRequest, metadata: Mapping[str, str]
) -> ListWorkerDeploymentsResponse:
    limit = engine.limits.visibility_page
    size = min(request.page_size, limit) if request.page_size > 0 else limit
    names = [deployment.name for deployment in engine.deployments.all(request.namespace)]
    begin = 0
    if request.next_page_token:
        try:
            begin = names.index(json.loads(request.next_page_token)) + 1
        except ValueError:
            raise invalid("Invalid NextPageToken.") from None
    page = names[begin : begin + size]
    response = ListWorkerDeploymentsResponse(
        worker_deployments=[deployment_info.listed(_find(engine, request.namespace, name)) for name in page]
    )
    if begin + size < len(names):
        response.next_page_token = json.dumps(page[-1]).encode()
    return response


# --- routing


async def set_worker_deployment_current_version(
    engine: Engine, request: SetWorkerDeploymentCurrentVersionRequest, metadata: Mapping[str, str]
) -> SetWorkerDeploymentCurrentVersionResponse:
    if not request.deployment_name:
        raise invalid("deployment name cannot be empty")
    build_id = _build_id(request)
    deployment = _find(engine, request.namespace, request.deployment_name)
    change = _change(engine, request, deployment, build_id)
    before = deployments.set_current(deployment, change, engine.clock.now())
    await _save(engine, request.namespace, deployment, *deployment.versions)
    return SetWorkerDeploymentCurrentVersionResponse(
        conflict_token=deployment.token,
        previous_version=dotted(before),
        previous_deployment_version=None if before is None else before.message(),
    )


def _build_id(
    request: SetWorkerDeploymentCurrentVersionRequest | SetWorkerDeploymentRampingVersionRequest,
) -> str:
    """The build id that is meant, also where only the older form names it; "" for workers without a version."""
    if not request.version:
        return request.build_id
    version = parse_version(request.version)
    if version is not None and version.deployment_name != request.deployment_name:
        raise invalid(
            f"invalid version string '{request.version}' does not match deployment name '{request.deployment_name}'"
        )
    return version.build_id if version is not None else ""


def _change(
    engine: Engine,
    request: SetWorkerDeploymentCurrentVersionRequest | SetWorkerDeploymentRampingVersionRequest,
    deployment: Deployment,
    build_id: str,
) -> Change:
    return Change(
        request.identity,
        build_id,
        request.conflict_token,
        request.ignore_missing_task_queues,
        request.allow_no_pollers,
        tuple(_missing_queues(engine, request.namespace, deployment, build_id)),
    )


def _missing_queues(engine: Engine, namespace: str, deployment: Deployment, build_id: str) -> list[str]:
    """Queues of the current version that have tasks, and that no worker of the new version polls."""
    current = version_of(deployment.routing.current_deployment_version)
    if current is None or not build_id:
        return []
    new = Version(deployment.name, build_id)
    missing = []
    for queue in deployment.versions[current.build_id].task_queue_infos:
        key = QueueKey(namespace, queue.name, KIND_OF_TYPE[queue.type])
        if engine.deployments.has(key, new) or engine.deployments.routing(key).current.version != current:
            continue
        stats = task_queues.stats_of_version(engine, key, current).whole
        if stats.approximate_backlog_count or stats.tasks_add_rate:
            missing.append(queue.name)
    return missing


async def set_worker_deployment_ramping_version(
    engine: Engine, request: SetWorkerDeploymentRampingVersionRequest, metadata: Mapping[str, str]
) -> SetWorkerDeploymentRampingVersionResponse:
    if not 0 <= request.percentage <= 100:
        raise invalid("Percentage must be between 0 and 100 (inclusive)")
    if not request.deployment_name:
        raise invalid("deployment name cannot be empty")
    build_id = _build_id(request)
    unset = not build_id and not request.percentage and request.version in ("", UNVERSIONED)
    deployment = _find(engine, request.namespace, request.deployment_name)
    change = _change(engine, request, deployment, build_id)
    now = engine.clock.now()
    before, share = deployments.set_ramping(deployment, change, request.percentage, unset, now)
    await _save(engine, request.namespace, deployment, *deployment.versions)
    version = parse_version(before) if before else None
    return SetWorkerDeploymentRampingVersionResponse(
        conflict_token=deployment.token,
        previous_version=before,
        previous_percentage=share,
        previous_deployment_version=None if version is None else version.message(),
    )


# --- creating, changing, deleting


async def create_worker_deployment(
    engine: Engine, request: CreateWorkerDeploymentRequest, metadata: Mapping[str, str]
) -> CreateWorkerDeploymentResponse:
    if not request.deployment_name:
        raise invalid("deployment name cannot be empty")
    check_name(request.deployment_name)
    deployment = engine.deployments.get(request.namespace, request.deployment_name)
    if deployment is not None:
        deployments.check_new(deployment, request.request_id)
    else:
        request_id = request.request_id or engine.new_id()
        now = engine.clock.now()
        deployment = deployments.create(request.deployment_name, request.identity, request_id, now)
        await _save(engine, request.namespace, deployment)
    return CreateWorkerDeploymentResponse(conflict_token=deployment.token)


async def create_worker_deployment_version(
    engine: Engine, request: CreateWorkerDeploymentVersionRequest, metadata: Mapping[str, str]
) -> CreateWorkerDeploymentVersionResponse:
    version = request.deployment_version
    if not version.deployment_name:
        raise invalid("deployment name cannot be empty")
    if not version.build_id:
        raise invalid("build ID cannot be empty")
    if request.HasField("compute_config"):
        raise invalid("compute_config: perdure does not start workers on a cloud's compute")
    deployment = _find(engine, request.namespace, version.deployment_name)
    request_id = request.request_id or engine.new_id()
    deployments.add_version(deployment, version.build_id, engine.clock.now(), request_id)
    deployment.info.last_modifier_identity = request.identity
    await _save(engine, request.namespace, deployment, version.build_id)
    return CreateWorkerDeploymentVersionResponse()


async def set_worker_deployment_manager(
    engine: Engine, request: SetWorkerDeploymentManagerRequest, metadata: Mapping[str, str]
) -> SetWorkerDeploymentManagerResponse:
    if not request.identity:
        raise invalid("Identity is required")
    deployment = _find(engine, request.namespace, request.deployment_name)
    manager = request.identity if request.self else request.manager_identity
    before = deployments.set_manager(
        deployment, request.identity, manager, request.conflict_token, engine.clock.now()
    )
    await _save(engine, request.namespace, deployment)
    return SetWorkerDeploymentManagerResponse(
        conflict_token=deployment.token, previous_manager_identity=before
    )


async def update_worker_deployment_version_metadata(
    engine: Engine, request: UpdateWorkerDeploymentVersionMetadataRequest, metadata: Mapping[str, str]
) -> UpdateWorkerDeploymentVersionMetadataResponse:
    if not request.upsert_entries and not request.remove_entries:
        raise invalid("At least one of remove_entries or upsert_entries must be provided")
    version = _named(request.version, request.deployment_version, request.HasField("deployment_version"))
    deployment = engine.deployments.get(request.namespace, version.deployment_name)
    info = None if deployment is None else deployment.versions.get(version.build_id)
    if deployment is None or info is None:
        raise not_found(
            f"build ID '{version.build_id}' not found in Worker Deployment '{version.deployment_name}'"
        )
    changed = deployments.update_metadata(
        info, dict(request.upsert_entries), request.remove_entries, request.identity
    )
    await _save(engine, request.namespace, deployment, version.build_id)
    return UpdateWorkerDeploymentVersionMetadataResponse(metadata=changed)


async def delete_worker_deployment_version(
    engine: Engine, request: DeleteWorkerDeploymentVersionRequest, metadata: Mapping[str, str]
) -> DeleteWorkerDeploymentVersionResponse:
    """Deletes a version that nobody needs any more. One that is not there is gone already."""
    version = _named(request.version, request.deployment_version, request.HasField("deployment_version"))
    deployment = engine.deployments.get(request.namespace, version.deployment_name)
    if deployment is not None and version.build_id in deployment.versions:
        deployments.delete_version(
            deployment,
            version.build_id,
            request.identity,
            skip_drainage=request.skip_drainage,
            polled=_polled(engine, request.namespace, deployment, version),
        )
        await _save(engine, request.namespace, deployment, version.build_id)
    return DeleteWorkerDeploymentVersionResponse()


def _polled(engine: Engine, namespace: str, deployment: Deployment, version: Version) -> bool:
    """Whether workers of a version polled any of its queues in the last five minutes."""
    return any(
        version_of_worker(seen.options) == version
        for queue in deployment.versions[version.build_id].task_queue_infos
        for seen in engine.matching.pollers(QueueKey(namespace, queue.name, KIND_OF_TYPE[queue.type]))
    )


async def delete_worker_deployment(
    engine: Engine, request: DeleteWorkerDeploymentRequest, metadata: Mapping[str, str]
) -> DeleteWorkerDeploymentResponse:
    """Deletes a deployment without versions. One that is not there is gone already."""
    deployment = engine.deployments.get(request.namespace, request.deployment_name)
    if deployment is not None:
        deployments.check_delete(deployment)
        await engine.journal.durable(engine.deployments.drop(request.namespace, deployment.name))
    return DeleteWorkerDeploymentResponse()


# --- drainage


def watch_drainage(engine: Engine, namespace: str, deployment: Deployment) -> None:
    """While a version drains, it is looked now and then whether runs still need it."""
    key = ("drainage", namespace, deployment.name)
    if any(version.status == _DRAINING for version in deployment.versions.values()):
        when = engine.clock.now() + _DRAINAGE_CHECKS
        engine.alarms.set(key, when, partial(_check_drainage_soon, engine, namespace, deployment.name))
    else:
        engine.alarms.clear(key)


def _check_drainage_soon(engine: Engine, namespace: str, name: str) -> None:
    engine.run_aside(_check_drainage(engine, namespace, name), "perdure-drainage")


async def _check_drainage(engine: Engine, namespace: str, name: str) -> None:
    deployment = engine.deployments.get(namespace, name)
    if deployment is None:
        return
    for build_id, version in list(deployment.versions.items()):
        if version.status == _DRAINING:
            in_use = await _in_use(engine, namespace, Version(name, build_id))
            deployments.check_drainage(version, in_use, engine.clock.now())
    engine.deployments.save(namespace, deployment, *deployment.versions)
    watch_drainage(engine, namespace, deployment)


async def _in_use(engine: Engine, namespace: str, version: Version) -> bool:
    """Whether open runs are pinned to a version."""
    query = (
        f"TemporalWorkerDeploymentVersion = '{version}' AND TemporalWorkflowVersioningBehavior = 'Pinned' "
        "AND ExecutionStatus = 'Running'"
    )
    counts = await engine.journal.count_executions(Scope(namespace), query)
    return any(count for _, count in counts)


def resume_drainage(engine: Engine) -> None:
    """At the engine's start: versions that drained when it stopped are watched again."""
    for namespace, deployment in engine.deployments.everything():
        watch_drainage(engine, namespace, deployment)


HANDLERS: Handlers = {
    "CreateWorkerDeployment": create_worker_deployment,
    "CreateWorkerDeploymentVersion": create_worker_deployment_version,
    "DeleteWorkerDeployment": delete_worker_deployment,
    "DeleteWorkerDeploymentVersion": delete_worker_deployment_version,
    "DescribeWorkerDeployment": describe_worker_deployment,
    "DescribeWorkerDeploymentVersion": describe_worker_deployment_version,
    "ListWorkerDeployments": list_worker_deployments,
    "SetWorkerDeploymentCurrentVersion": set_worker_deployment_current_version,
    "SetWorkerDeploymentManager": set_worker_deployment_manager,
    "SetWorkerDeploymentRampingVersion": set_worker_deployment_ramping_version,
    "UpdateWorkerDeploymentVersionMetadata": update_worker_deployment_version_metadata,
}
