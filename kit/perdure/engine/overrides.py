"""Versioning overrides: what a caller says of the version that a run is to be tied to, in its present and its older form. Pure."""

from __future__ import annotations

from temporalio.api.enums.v1 import VersioningBehavior
from temporalio.api.workflow.v1 import VersioningOverride

from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.worker_versions import Version, parse_version, version_of

PINNED = VersioningBehavior.VERSIONING_BEHAVIOR_PINNED
AUTO_UPGRADE = VersioningBehavior.VERSIONING_BEHAVIOR_AUTO_UPGRADE
_PIN = VersioningOverride.PinnedOverrideBehavior.PINNED_OVERRIDE_BEHAVIOR_PINNED


def override_version(override: VersioningOverride) -> Version | None:
    """The version that an override (in the current form) ties the run to; None for an auto-upgrading one."""
    if override.HasField("pinned"):
        version = override.pinned.version
    elif override.HasField("one_time"):
        version = override.one_time.target_deployment_version
    else:
        return None
    return Version(version.deployment_name, version.build_id)


def is_pin(override: VersioningOverride) -> bool:
    return override.HasField("pinned")


def pin_to(version: Version) -> VersioningOverride:
    override = VersioningOverride()
    override.pinned.behavior = _PIN
    override.pinned.version.CopyFrom(version.message())
    return override


def current_form(override: VersioningOverride) -> VersioningOverride:
    """Without the fields that Temporal deprecates: what they say stands in the newer ones."""
    if override.WhichOneof("override") is not None:
        form = VersioningOverride()
        form.CopyFrom(override)
        for name in ("behavior", "deployment", "pinned_version"):
            form.ClearField(name)
        return form
    if override.behavior == AUTO_UPGRADE:
        return VersioningOverride(auto_upgrade=True)
    if override.pinned_version and (version := parse_version(override.pinned_version)):
        return pin_to(version)
    return pin_to(Version(override.deployment.series_name, override.deployment.build_id))


def with_old_fields(override: VersioningOverride) -> VersioningOverride:
    """With the deprecated fields filled too, as descriptions and histories show it."""
    form = VersioningOverride()
    form.CopyFrom(override)
    if override.HasField("pinned"):
        form.behavior = PINNED
        if version := version_of(override.pinned.version):
            form.pinned_version = version.dotted
    elif override.HasField("auto_upgrade"):
        form.behavior = AUTO_UPGRADE
    return form


def check_override(override: VersioningOverride) -> None:
    """Raises INVALID_ARGUMENT for an override that the server would refuse."""
    match override.WhichOneof("override"):
        case "auto_upgrade":
            if not override.auto_upgrade:
                raise invalid("auto-upgrade override must be true")
        case "pinned":
            if not override.pinned.HasField("version"):
                raise invalid("must provide version if override is pinned.")
            if not override.pinned.behavior:
                raise invalid("must specify pinned override behavior if override is pinned.")
        case "one_time":
            if not override.one_time.HasField("target_deployment_version"):
                raise invalid("must provide target deployment version if override is one-time.")
        case None:
            if override.behavior == PINNED:
                if override.pinned_version:
                    parse_version(override.pinned_version)
                elif not override.HasField("deployment"):
                    raise invalid(
                        "must provide deployment (deprecated) or pinned version if behavior is 'PINNED'"
                    )
            elif override.behavior == AUTO_UPGRADE:
                if override.HasField("deployment"):
                    raise invalid("only provide deployment if behavior is 'PINNED'")
                if override.pinned_version:
                    raise invalid("only provide pinned version if behavior is 'PINNED'")
            else:
                raise invalid("override behavior is required")


def not_in_queue(version: Version, queue: str) -> ServiceError:
    return ServiceError(
        Code.FAILED_PRECONDITION,
        f"Pinned version '{version}' is not present in task queue '{queue}' of type 'Workflow'",
    )
