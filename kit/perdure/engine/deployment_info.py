"""What readers are told of a worker deployment and its versions: descriptions and summaries, made from `Deployment`. Pure."""

from __future__ import annotations

from temporalio.api.deployment.v1 import (
    WorkerDeploymentInfo,
    WorkerDeploymentVersionInfo,
)
from temporalio.api.workflowservice.v1 import ListWorkerDeploymentsResponse

from perdure.engine.deployments import Deployment
from perdure.engine.protos import from_timestamp
from perdure.engine.worker_versions import version_of

_Summary = WorkerDeploymentInfo.WorkerDeploymentVersionSummary


def describe(deployment: Deployment) -> WorkerDeploymentInfo:
    info = WorkerDeploymentInfo()
    info.CopyFrom(deployment.info)
    info.version_summaries.extend(_summary(v) for v in _newest_first(deployment))
    return info


def describe_version(version: WorkerDeploymentVersionInfo) -> WorkerDeploymentVersionInfo:
    """Without what Temporal shows in the summaries only."""
    info = WorkerDeploymentVersionInfo()
    info.CopyFrom(version)
    for name in ("first_activation_time", "last_current_time", "last_deactivation_time"):
        info.ClearField(name)
    return info


def _newest_first(deployment: Deployment) -> list[WorkerDeploymentVersionInfo]:
    return sorted(deployment.versions.values(), key=lambda v: from_timestamp(v.create_time), reverse=True)


def _summary(version: WorkerDeploymentVersionInfo) -> _Summary:
    summary = _Summary(
        version=version.version,
        deployment_version=version.deployment_version,
        create_time=version.create_time,
        status=version.status,
        drainage_status=version.drainage_info.status,
    )
    for name, source in (
        ("drainage_info", "drainage_info"),
        ("current_since_time", "current_since_time"),
        ("ramping_since_time", "ramping_since_time"),
        ("routing_update_time", "routing_changed_time"),
        ("first_activation_time", "first_activation_time"),
        ("last_current_time", "last_current_time"),
        ("last_deactivation_time", "last_deactivation_time"),
    ):
        if version.HasField(source):  # type: ignore[arg-type]
            getattr(summary, name).CopyFrom(getattr(version, source))
    return summary


def listed(deployment: Deployment) -> ListWorkerDeploymentsResponse.WorkerDeploymentSummary:
    summary = ListWorkerDeploymentsResponse.WorkerDeploymentSummary(
        name=deployment.name, create_time=deployment.info.create_time, routing_config=deployment.routing
    )
    newest = _newest_first(deployment)
    if newest:
        summary.latest_version_summary.CopyFrom(_summary(newest[0]))
        summary.latest_version_summary.ClearField(
            "drainage_status"
        )  # deprecated; Temporal leaves it out here
    for name, version in (
        ("current_version_summary", version_of(deployment.routing.current_deployment_version)),
        ("ramping_version_summary", version_of(deployment.routing.ramping_deployment_version)),
    ):
        if version is not None:
            getattr(summary, name).CopyFrom(_summary(deployment.versions[version.build_id]))
    return summary
