"""Resetting a run to an earlier point of its history. TEMPORAL.md, section 15."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import EventType, ResetReapplyType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest, ResetWorkflowExecutionResponse

from perdure.engine import options, resetting
from perdure.engine.errors import ServiceError, invalid
from perdure.engine.rpc.common import Handlers, find_run
from perdure.engine.runs import Run
from perdure.engine.turn import Turn

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def reset_workflow_execution(
    engine: Engine, request: ResetWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> ResetWorkflowExecutionResponse:
    """Goes on from a workflow task of a run, in a new run of the same workflow id; ends the current run, if that is open.

    The same request id again gives the run that it made: that run's id follows from the request, so that this holds over restarts.
    """
    _check(engine, request)
    base = await find_run(engine, request.namespace, request.workflow_execution)
    await engine.runs.latest(request.namespace, base.ex.workflow_id)
    await _followers(engine, base)
    run_id = _run_id(base, request.request_id)
    made = await engine.runs.get(request.namespace, base.ex.workflow_id, run_id)
    # all of them are in memory now, so that from here on nothing comes between
    current = await engine.runs.latest(request.namespace, base.ex.workflow_id)
    followers = await _followers(engine, base)
    if made := made or engine.runs.in_memory(run_id):
        await engine.journal.durable(made.ticket)
        return ResetWorkflowExecutionResponse(run_id=run_id)
    resetting.check_point(base.ex, request.workflow_task_finish_event_id)
    ending = engine.turn(current) if current is not None and current.ex.open else None
    turn = resetting.reset(
        base.ex,
        ending,
        [run.ex for run in followers],
        request.workflow_task_finish_event_id,
        request.reason,
        resetting.excluded(request.reset_reapply_exclude_types, request.reset_reapply_type),
        run_id,
        engine.clock.now(),
        engine.limits,
        partial(_change_options, request),
    )
    engine.runs.add(turn.ex)
    base.ticket = engine.commit(*([ending] if ending is not None else []), turn)
    await engine.journal.durable(base.ticket)
    return ResetWorkflowExecutionResponse(run_id=turn.ex.run_id)


def _run_id(base: Run, request_id: str) -> str:
    """Of the run that a request to reset makes."""
    name = json.dumps([base.ex.namespace, base.ex.workflow_id, request_id])
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _check(engine: Engine, request: ResetWorkflowExecutionRequest) -> None:
    if not request.request_id:
        raise invalid("RequestId is not set on request.")
    if len(request.request_id.encode()) > engine.limits.id_length:
        raise invalid("RequestId length exceeds limit.")
    if request.reset_reapply_type not in ResetReapplyType.values():
        raise invalid(f"unknown reset reapply type: {request.reset_reapply_type}")
    for operation in request.post_reset_operations:
        kind = operation.WhichOneof("variant")
        if kind != "update_workflow_options":
            name = "*workflow.PostResetOperation_SignalWorkflow_" if kind else "<nil>"
            raise invalid(f"unsupported post reset operation: {name}")
        update = operation.update_workflow_options
        try:
            options.check(update.workflow_execution_options, update.update_mask.paths)
        except ServiceError as error:
            text = error.message.removeprefix("error parsing UpdateMask: ")
            raise ServiceError(error.code, f"error applying update_options: {text}") from None


def _change_options(request: ResetWorkflowExecutionRequest, turn: Turn) -> None:
    """The options that the new run is to have, each change with an event of its own."""
    for operation in request.post_reset_operations:
        update = operation.update_workflow_options
        paths = update.update_mask.paths
        wanted = options.merged(turn.ex, update.workflow_execution_options, paths)
        if event := options.updated(turn.ex, wanted, paths, ""):
            turn.add(event)


async def _followers(engine: Engine, base: Run) -> list[Run]:
    """The runs that continued `base` as new, oldest first, as far as they are kept."""
    found: list[Run] = []
    run: Run | None = base
    while run is not None:
        last = run.ex.events[-1]
        if last.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            break
        next_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        run = await engine.runs.get(run.ex.namespace, run.ex.workflow_id, next_id)
        if run is not None:
            found.append(run)
    return found


HANDLERS: Handlers = {"ResetWorkflowExecution": reset_workflow_execution}
