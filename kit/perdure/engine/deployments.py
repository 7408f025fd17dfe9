"""Worker deployments: which versions there are, and which of them are current or ramping. Pure.

A deployment is kept as Temporal's own messages, one for itself and one for each version; what readers are told is derived
from them (`deployment_info`), and so is where tasks go (`queue_routing`). TEMPORAL.md, section 19.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from temporalio.api.common.v1 import Payload
from temporalio.api.deployment.v1 import (
    RoutingConfig,
    VersionDrainageInfo,
    VersionMetadata,
    WorkerDeploymentInfo,
    WorkerDeploymentVersionInfo,
)
from temporalio.api.enums.v1 import (
    RoutingConfigUpdateState,
    TaskQueueType,
    VersionDrainageStatus,
    WorkerDeploymentVersionStatus,
)

from perdure.engine.errors import Code, ServiceError, not_found
from perdure.engine.protos import timestamp
from perdure.engine.worker_versions import UNVERSIONED, Version, dotted, version_of

_Status = WorkerDeploymentVersionStatus
_DRAINING = VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINING
_DRAINED = VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED


@dataclass(slots=True)
class Deployment:
    """A worker deployment. `info` holds no summaries: they are made from `versions`."""

    info: WorkerDeploymentInfo
    token: bytes
    request_id: str = ""
    versions: dict[str, WorkerDeploymentVersionInfo] = field(
        default_factory=dict
    )  # by build id, oldest first
    version_requests: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def routing(self) -> RoutingConfig:
        return self.info.routing_config


def found(deployment: Deployment | None, name: str) -> Deployment:
    """Raises NOT_FOUND for a deployment that is not there."""
    if deployment is None:
        raise not_found(
            f"no Worker Deployment found with name '{name}'; does your Worker Deployment have pollers?"
        )
    return deployment


def _unknown_version(deployment: Deployment, build_id: str) -> ServiceError:
    return not_found(f"build ID '{build_id}' not found in Worker Deployment '{deployment.name}'")


def _refused(message: str) -> ServiceError:
    return ServiceError(Code.FAILED_PRECONDITION, message)


def create(name: str, identity: str, request_id: str, now: int) -> Deployment:
    """A deployment without versions; "" as `request_id` means that a poll created it."""
    info = WorkerDeploymentInfo(
        name=name,
        create_time=timestamp(now),
        last_modifier_identity=identity,
        routing_config=RoutingConfig(current_version=UNVERSIONED),
        routing_config_update_state=RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_COMPLETED,
    )
    return Deployment(info, _token(now), request_id)


def check_new(existing: Deployment, request_id: str) -> None:
    """Raises ALREADY_EXISTS, unless the same request created it."""
    if existing.request_id != request_id or not request_id:
        how = "" if existing.request_id else " (auto-created from worker polls)"
        raise ServiceError(
            Code.ALREADY_EXISTS, f'Worker Deployment with name "{existing.name}" already exists{how}'
        )


def _token(now: int) -> bytes:
    return now.to_bytes(8)


def add_version(deployment: Deployment, build_id: str, now: int, request_id: str = "") -> None:
    """A version that no worker has polled for yet. Raises ALREADY_EXISTS, unless the same request created it."""
    version = Version(deployment.name, build_id)
    if build_id in deployment.versions:
        if deployment.version_requests.get(build_id, "") != request_id or not request_id:
            raise ServiceError(
                Code.ALREADY_EXISTS, f'Worker Deployment Version "{version.dotted}" already exists'
            )
        return
    deployment.versions[build_id] = WorkerDeploymentVersionInfo(
        version=version.dotted,
        deployment_version=version.message(),
        create_time=timestamp(now),
        status=_Status.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED,
    )
    deployment.version_requests[build_id] = request_id


def register(
    deployment: Deployment, build_id: str, queue: str, kind: TaskQueueType.ValueType, now: int
) -> bool:
    """A worker of a version polls a queue; True if that is news."""
    if build_id not in deployment.versions:
        add_version(deployment, build_id, now)
    version = deployment.versions[build_id]
    if any(each.name == queue and each.type == kind for each in version.task_queue_infos):
        return False
    version.task_queue_infos.add(name=queue, type=kind)
    known = sorted(version.task_queue_infos, key=lambda each: (each.name, -each.type))
    del version.task_queue_infos[:]
    version.task_queue_infos.extend(known)
    if version.status == _Status.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED:
        version.status = _Status.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE
    return True


# --- routing


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked of a deployment's routing, and by whom. `build_id`: "" for workers without a version."""

    identity: str
    build_id: str = ""
    token: bytes = b""
    ignore_missing_queues: bool = False
    allow_no_pollers: bool = False
    missing: tuple[str, ...] = ()  # queues of the current version that are in use, and the new one lacks


def set_current(deployment: Deployment, change: Change, now: int) -> Version | None:
    """Makes a version current; returns the one that was. Raises NOT_FOUND or FAILED_PRECONDITION."""
    routing = deployment.routing
    before = version_of(routing.current_deployment_version)
    new = Version(deployment.name, change.build_id) if change.build_id else None
    if before == new and deployment.info.last_modifier_identity == change.identity:
        return before
    _check_change(deployment, change)
    if new is not None:
        _ensure_version(deployment, change, now)
        if before is not None and change.missing and not change.ignore_missing_queues:
            raise _refused(
                f"proposed current version '{new}' is missing active task queues from the current version; "
                "these would become unversioned if it is set as the current version"
            )
    if before != new:
        ramping = version_of(routing.ramping_deployment_version)
        routing.revision_number += 1
        routing.current_version = dotted(new)
        _set_version(routing, "current_deployment_version", new)
        routing.current_version_changed_time.CopyFrom(timestamp(now))
        if new is not None and new == ramping:
            routing.ramping_version = ""
            routing.ClearField("ramping_deployment_version")
            routing.ramping_version_percentage = 0
            routing.ramping_version_changed_time.CopyFrom(timestamp(now))
            routing.ramping_version_percentage_changed_time.CopyFrom(timestamp(now))
        if new is not None:
            _activate(deployment.versions[new.build_id], now, current=True)
        if before is not None and before != ramping:
            _deactivate(deployment.versions[before.build_id], now)
    _modified(deployment, change.identity, now)
    return before


def set_ramping(
    deployment: Deployment, change: Change, percentage: float, unset: bool, now: int
) -> tuple[str, float]:
    """Ramps a version up to a share of the new runs, or `unset`s the ramp; returns the version and share before.

    Raises NOT_FOUND or FAILED_PRECONDITION.
    """
    routing = deployment.routing
    before, share = routing.ramping_version, routing.ramping_version_percentage
    new = Version(deployment.name, change.build_id) if change.build_id else None
    text = "" if unset else dotted(new)
    if (before, share) == (text, percentage) and deployment.info.last_modifier_identity == change.identity:
        return before, share
    _check_token(deployment, change)
    if text and text == routing.current_version:
        raise _refused(f"requested ramping version {text} is already current")
    _check_change(deployment, change)
    if new is not None:
        _ensure_version(deployment, change, now)
        if before != text and change.missing and not change.ignore_missing_queues:
            raise _refused(
                f"proposed ramping version '{new}' is missing active task queues from the current version; "
                "these would become unversioned if it is set as the ramping version"
            )
    if (before, share) != (text, percentage):
        _change_ramp(deployment, new, text, percentage, now)
    _modified(deployment, change.identity, now)
    return before, share


def _change_ramp(deployment: Deployment, new: Version | None, text: str, percentage: float, now: int) -> None:
    routing = deployment.routing
    old = version_of(routing.ramping_deployment_version)
    routing.revision_number += 1
    if routing.ramping_version != text:
        routing.ramping_version_changed_time.CopyFrom(timestamp(now))
    routing.ramping_version = text
    _set_version(routing, "ramping_deployment_version", new)
    routing.ramping_version_percentage = percentage
    routing.ramping_version_percentage_changed_time.CopyFrom(timestamp(now))
    if new is not None:
        version = deployment.versions[new.build_id]
        _activate(version, now, current=False)
        version.ramp_percentage = percentage
    if old is not None and old != new:
        _deactivate(deployment.versions[old.build_id], now)


def _set_version(routing: RoutingConfig, name: str, version: Version | None) -> None:
    if version is None:
        routing.ClearField(name)  # type: ignore[arg-type]
    else:
        getattr(routing, name).CopyFrom(version.message())


def _check_token(deployment: Deployment, change: Change) -> None:
    if change.token and change.token != deployment.token:
        raise _refused("conflict token mismatch")


def _check_change(deployment: Deployment, change: Change) -> None:
    _check_token(deployment, change)
    if change.build_id and change.build_id not in deployment.versions and not change.allow_no_pollers:
        raise _unknown_version(deployment, change.build_id)
    _check_manager(deployment, change.identity)


def _check_manager(deployment: Deployment, identity: str) -> None:
    manager = deployment.info.manager_identity
    if manager and manager != identity:
        raise _refused(
            f"ManagerIdentity '{manager}' is set and does not match user identity '{identity}'; to proceed, set "
            "your own identity as the ManagerIdentity, remove the ManagerIdentity, or wait for the other client to do so"
        )


def _ensure_version(deployment: Deployment, change: Change, now: int) -> None:
    if change.build_id not in deployment.versions:
        add_version(deployment, change.build_id, now)


def _modified(deployment: Deployment, identity: str, now: int) -> None:
    deployment.token = _token(now)
    deployment.info.last_modifier_identity = identity


def _activate(version: WorkerDeploymentVersionInfo, now: int, *, current: bool) -> None:
    when = timestamp(now)
    version.routing_changed_time.CopyFrom(when)
    if not version.HasField("first_activation_time"):
        version.first_activation_time.CopyFrom(when)
    version.ClearField("drainage_info")
    version.ClearField("last_deactivation_time")
    if current:
        version.current_since_time.CopyFrom(when)
        version.last_current_time.CopyFrom(when)
        version.ClearField("ramping_since_time")
        version.ramp_percentage = 0
        version.status = _Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT
    else:
        if not version.HasField("ramping_since_time"):
            version.ramping_since_time.CopyFrom(when)
        version.status = _Status.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING


def _deactivate(version: WorkerDeploymentVersionInfo, now: int) -> None:
    when = timestamp(now)
    version.routing_changed_time.CopyFrom(when)
    version.last_deactivation_time.CopyFrom(when)
    version.ClearField("current_since_time")
    version.ClearField("ramping_since_time")
    version.ramp_percentage = 0
    version.status = _Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING
    version.drainage_info.CopyFrom(
        VersionDrainageInfo(status=_DRAINING, last_changed_time=when, last_checked_time=when)
    )


def reactivate(deployment: Deployment, build_id: str, now: int) -> bool:
    """A run was pinned to a version that was out of use: it drains again. True if that changed it."""
    version = deployment.versions.get(build_id)
    if version is None or version.status not in (
        _Status.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE,
        _Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED,
    ):
        return False
    _deactivate(version, now)
    return True


def check_drainage(version: WorkerDeploymentVersionInfo, in_use: bool, now: int) -> None:
    """Whether open runs are still pinned to a draining version was looked up."""
    if version.status != _Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING:
        return
    version.drainage_info.last_checked_time.CopyFrom(timestamp(now))
    if not in_use:
        version.status = _Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED
        version.drainage_info.status = _DRAINED
        version.drainage_info.last_changed_time.CopyFrom(timestamp(now))


# --- managers, metadata, deletion


def set_manager(deployment: Deployment, identity: str, manager: str, token: bytes, now: int) -> str:
    """Lets one identity alone change the deployment; returns the one before."""
    before = deployment.info.manager_identity
    if before == manager and deployment.info.last_modifier_identity == identity:
        return before
    _check_token(deployment, Change(identity, token=token))
    deployment.info.manager_identity = manager
    _modified(deployment, identity, now)
    return before


def update_metadata(
    version: WorkerDeploymentVersionInfo, upsert: dict[str, Payload], remove: Iterable[str], identity: str
) -> VersionMetadata:
    for key in remove:
        version.metadata.entries.pop(key, None)
    for key, value in upsert.items():
        version.metadata.entries[key].CopyFrom(value)
    version.last_modifier_identity = identity
    return version.metadata


def delete_version(
    deployment: Deployment, build_id: str, identity: str, *, skip_drainage: bool, polled: bool
) -> None:
    """Takes a version away; one that is not there is no error. Raises FAILED_PRECONDITION while it is in use."""
    info = deployment.versions.get(build_id)
    if info is None:
        return
    version = Version(deployment.name, build_id)
    routing = deployment.routing
    if version.dotted in (routing.current_version, routing.ramping_version):
        raise _refused(f"version '{version}' cannot be deleted since it is current or ramping")
    _check_manager(deployment, identity)
    if info.status == _Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING and not skip_drainage:
        raise _refused(f"version '{version}' cannot be deleted since it is draining")
    if polled:
        raise _refused(f"version '{version}' cannot be deleted since it has active pollers")
    del deployment.versions[build_id]
    deployment.version_requests.pop(build_id, None)
    deployment.info.last_modifier_identity = identity


def check_delete(deployment: Deployment) -> None:
    if deployment.versions:
        raise _refused("deployment has versions, can't be deleted")


# --- for readers


# --- where tasks go
