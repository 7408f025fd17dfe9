"""Moves an open run to another version of its workflow, after a replay has shown that the version fits its
history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import Client
from temporalio.common import PinnedVersioningOverride, WorkerDeploymentVersion

from perdure.engine.project import Project
from perdure.engine.records import RunRecords
from perdure.errors import RunError
from perdure.history.asking import described
from perdure.replay.check import Check, check

if TYPE_CHECKING:
    from perdure.authoring.registry import Registered, Registry


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one run: `moved`, or why not."""

    id: str
    run_id: str
    before: str
    after: str
    moved: bool
    reason: str = ""


def pin(workflow_type: str, version: str) -> PinnedVersioningOverride:
    """How a version is named to the engine: the build id of a deployment with the workflow type's name."""
    return PinnedVersioningOverride(WorkerDeploymentVersion(workflow_type, version))


def version_of(records: RunRecords) -> str:
    return records.changed.version if records.changed is not None else records.started.version


async def target_of(
    registry: Registry, project: Project, workflow_type: str, version: str | None
) -> Registered:
    """The definition of a version; the current one when `version` is None. Raises RunError,
    DefinitionError."""
    if version is None:
        current = registry.current("workflow", workflow_type)
        if current is not None:
            return current
        raise RunError(
            f"Workflow {workflow_type} is not defined in this process.",
            "Run the cell that defines it, or import its module.",
        )
    if (found := registry.find("workflow", workflow_type, version)) is not None:
        return found
    kept = [d for d in await project.definitions() if (d.kind, d.name) == ("workflow", workflow_type)]
    for definition in kept:
        if definition.version == version:
            return await asyncio.to_thread(registry.load, definition)
    known = ", ".join(definition.version for definition in kept) or "none"
    raise RunError(f"Workflow {workflow_type} has no version {version!r}.", f"The file has: {known}.")


async def move(client: Client, project: Project, records: RunRecords, target: Registered) -> Check:
    """Replays, and moves the run if the version fits. The check says why not."""
    found = await asyncio.to_thread(lambda: asyncio.run(check(records, target)))
    if found.fits:
        started, version = records.started, target.definition.version
        override = pin(started.workflow_type, version)._to_proto() if version else VersioningOverride()
        await client.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=started.namespace,
                workflow_execution=WorkflowExecution(workflow_id=started.workflow_id, run_id=started.run_id),
                workflow_execution_options=WorkflowExecutionOptions(versioning_override=override),
                update_mask=FieldMask(paths=["versioning_override"]),
            )
        )
    return found


async def move_open(
    client: Client, project: Project, target: Registered, *, failing_only: bool = False
) -> AsyncIterator[Moved]:
    """Moves all open runs of the target's type that are not on its version, one after the other."""
    definition = target.definition
    query = f"WorkflowType = '{definition.name}' AND ExecutionStatus = 'Running'"
    async for execution in client.list_workflows(query):
        records = await project.read_run(execution.id, execution.run_id)
        before = version_of(records)
        if before == definition.version or records.closed is not None:
            continue
        if failing_only and not await _failing(client, execution.id, execution.run_id):
            continue
        found = await move(client, project, records, target)
        yield Moved(execution.id, execution.run_id, before, definition.version, found.fits, found.reason)


async def _failing(client: Client, workflow_id: str, run_id: str) -> bool:
    """Whether the run's workflow task has failed, and is being tried again."""
    found = await described(client, workflow_id, run_id)
    return bool(found.pending_workflow_task.attempt > 1)
