"""Changing the options of an open run. TEMPORAL.md, section 1.2.

perdure's own moves go this way, too: the versioning override names the definition version that a run is pinned to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.history.v1 import WorkflowExecutionOptionsUpdatedEventAttributes
from temporalio.api.workflow.v1 import VersioningOverride
from temporalio.api.workflowservice.v1 import (
    UpdateWorkflowExecutionOptionsRequest,
    UpdateWorkflowExecutionOptionsResponse,
)

from perdure.engine import activities, options
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.fold import pinned_version
from perdure.engine.project import Reload
from perdure.engine.rpc.common import Handlers, find_open_run
from perdure.engine.runs import Run
from perdure.engine.state import Execution
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import note, offer_anew

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def update_workflow_execution_options(
    engine: Engine, request: UpdateWorkflowExecutionOptionsRequest, metadata: Mapping[str, str]
) -> UpdateWorkflowExecutionOptionsResponse:
    """Changes the options that the mask names: versioning override (from the next workflow task on), priority."""
    if not request.workflow_execution.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if not request.HasField("update_mask"):
        raise invalid("UpdateMask is required")
    if not request.HasField("workflow_execution_options"):
        raise invalid("WorkflowExecutionOptions is required")
    wanted, paths = request.workflow_execution_options, list(request.update_mask.paths)
    options.check(wanted, paths)
    run = await find_open_run(engine, request.namespace, request.workflow_execution)
    if wanted.HasField("versioning_override"):
        _check_override(engine, run.ex, wanted.versioning_override)
    result = options.merged(run.ex, wanted, paths)
    if event := options.updated(run.ex, result, paths, request.identity):
        update(engine, run, event)
    await engine.journal.durable(run.ticket)
    return UpdateWorkflowExecutionOptionsResponse(workflow_execution_options=result)


def _check_override(engine: Engine, ex: Execution, override: VersioningOverride) -> None:
    """A run is pinned to the version of a definition, or to one of a worker deployment that has workers for its queue."""
    if override.HasField("pinned") and override.pinned.behavior and not override.pinned.HasField("version"):
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            f"must specify a specific pinned override version because workflow with id {ex.workflow_id} "
            "is not yet pinned to any version",
        )
    engine.routing.check_override(ex.namespace, ex.task_queue, ex.workflow_type, override)


def update(engine: Engine, run: Run, event: WorkflowExecutionOptionsUpdatedEventAttributes) -> None:
    """Writes the event. A run that moves to another version leaves the caches of workers, and its task is tried anew."""
    ex = run.ex
    moves = event.versioning_override != (ex.versioning_override or VersioningOverride())
    if moves:
        own = ex.versioning.own or pinned_version(event.versioning_override, ex.workflow_type)
        if own and ex.task is not None and ex.task.started:
            engine.retry_now(run)
        ex.sticky_queue = ""
        run.moved = engine.processes.newest  # who attends now takes the run again under its next lease only
    turn = engine.turn(run)
    write(turn, event)
    if moves:
        offer_anew(turn)
        activities.offer_waiting(turn)
    engine.commit(turn)
    if moves:
        for lease in engine.processes:
            lease.notices.put_nowait(Reload(ex.run_id))


def write(turn: Turn, event: WorkflowExecutionOptionsUpdatedEventAttributes) -> None:
    note(turn, event)
    turn.changed()


HANDLERS: Handlers = {"UpdateWorkflowExecutionOptions": update_workflow_execution_options}
