"""What the next run of a chain, and a child, take over of the versions of the run that they come from. Pure.

A pinned run hands its version on, as long as the new run's task queue has workers of it; an auto-upgrading one hands on how new the
routing was that it followed. The versions of definitions that perdure pins runs to are not handed on: they are chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio.api.enums.v1 import ContinueAsNewInitiator
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes

from perdure.engine.overrides import AUTO_UPGRADE, PINNED, is_pin, override_version
from perdure.engine.state import Execution
from perdure.engine.worker_versions import Target, Version

HasVersion = Callable[
    [str, Version], bool
]  # whether workers of a version poll a task queue for workflow tasks


def inherit_as_child(
    parent: Execution, attributes: WorkflowExecutionStartedEventAttributes, has: HasVersion
) -> None:
    if attributes.HasField("versioning_override") or parent.versioning.own:
        return
    versioning = parent.versioning
    version = versioning.effective_version
    if version is None or not _within(parent, attributes, version, has):
        return
    if versioning.pinned:
        attributes.inherited_pinned_version.CopyFrom(version.message())
    elif versioning.effective_behavior == AUTO_UPGRADE and versioning.revision:
        _auto_upgrade(attributes, version, versioning.revision)
    if versioning.override is not None and override_version(versioning.override):
        attributes.versioning_override.CopyFrom(versioning.override)


def inherit_in_chain(
    before: Execution,
    attributes: WorkflowExecutionStartedEventAttributes,
    initial_behavior: int,
    has: HasVersion,
) -> None:
    """The next run after continue-as-new, a retry, or a cron. `initial_behavior`: as the continue-as-new command asks."""
    for name in (
        "inherited_pinned_version",
        "inherited_auto_upgrade_info",
        "declined_target_version_upgrade",
    ):
        attributes.ClearField(name)
    versioning = before.versioning
    if (
        versioning.own
        or attributes.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
    ):
        return
    version = versioning.effective_version
    if version is None or not _within(before, attributes, version, has):
        return
    if versioning.override is not None and is_pin(versioning.override):
        attributes.versioning_override.CopyFrom(versioning.override)
    retry = attributes.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY
    if retry:
        initial_behavior = 0
    if versioning.pinned and not initial_behavior:
        if not retry or before.started.HasField("inherited_pinned_version"):
            attributes.inherited_pinned_version.CopyFrom(version.message())
            if (declined := versioning.notified or versioning.declined) is not None:
                _decline(attributes, declined)
    elif versioning.effective_behavior in (PINNED, AUTO_UPGRADE) and versioning.revision:
        _auto_upgrade(
            attributes,
            version,
            versioning.revision,
            versioning.initial_behavior if retry else initial_behavior,
        )


def _within(
    ex: Execution, attributes: WorkflowExecutionStartedEventAttributes, version: Version, has: HasVersion
) -> bool:
    queue = attributes.task_queue.name
    return queue == ex.task_queue or has(queue, version)


def _auto_upgrade(
    attributes: WorkflowExecutionStartedEventAttributes,
    version: Version,
    revision: int,
    initial_behavior: int = 0,
) -> None:
    info = attributes.inherited_auto_upgrade_info
    info.source_deployment_version.CopyFrom(version.message())
    info.source_deployment_revision_number = revision
    info.continue_as_new_initial_versioning_behavior = initial_behavior  # type: ignore[assignment]


def _decline(attributes: WorkflowExecutionStartedEventAttributes, declined: Target) -> None:
    upgrade = attributes.declined_target_version_upgrade
    upgrade.revision_number = declined.revision
    if declined.version is not None:
        upgrade.deployment_version.CopyFrom(declined.version.message())
