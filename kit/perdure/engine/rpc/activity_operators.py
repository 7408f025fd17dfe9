"""Operators' requests about activities of workflows: by id, by type, or all of them. TEMPORAL.md, section 18.

Their newer forms (PauseActivityExecution and its kin), which name one activity, are in `standalone_operators`.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseActivityResponse,
    ResetActivityRequest,
    ResetActivityResponse,
    UnpauseActivityRequest,
    UnpauseActivityResponse,
    UpdateActivityOptionsRequest,
    UpdateActivityOptionsResponse,
)

from perdure.engine import activity_operators, activity_options
from perdure.engine.errors import invalid
from perdure.engine.priorities import check_priority
from perdure.engine.protos import from_duration
from perdure.engine.rpc.common import Handlers, find_open_run
from perdure.engine.runs import Run
from perdure.engine.state import Activity

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_Request: TypeAlias = (
    PauseActivityRequest | UnpauseActivityRequest | ResetActivityRequest | UpdateActivityOptionsRequest
)


def _check(request: _Request) -> None:
    if not request.execution.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if request.WhichOneof("activity") is None:
        raise invalid("Either Activity.Id or Activity.Type should be set on request.")
    check_run_id(request.execution.run_id, "RunId is not valid UUID.")


def check_run_id(run_id: str, message: str) -> None:
    try:
        uuid.UUID(run_id or str(uuid.NAMESPACE_OID))
    except ValueError:
        raise invalid(message) from None


async def _chosen(engine: Engine, request: _Request) -> tuple[Run, list[Activity]]:
    """The open run, and its activities that are meant."""
    execution: WorkflowExecution = request.execution
    run = await find_open_run(engine, request.namespace, execution)
    which = request.WhichOneof("activity")
    return run, activity_operators.chosen(
        run.ex,
        activity_id=request.id if which == "id" else "",
        activity_type=request.type if which == "type" else "",
        every=which in ("match_all", "unpause_all"),
    )


def offset(jitter: Duration) -> int:
    """A random part of the jitter, in ns."""
    return random.randrange(length) if (length := from_duration(jitter)) > 0 else 0


async def pause_activity(
    engine: Engine, request: PauseActivityRequest, metadata: Mapping[str, str]
) -> PauseActivityResponse:
    _check(request)
    run, chosen = await _chosen(engine, request)
    activity_operators.check_pause(chosen, request.request_id)
    turn = engine.turn(run)
    for activity in chosen:
        activity_operators.pause(turn, activity, request.identity, request.reason, request.request_id)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return PauseActivityResponse()


async def unpause_activity(
    engine: Engine, request: UnpauseActivityRequest, metadata: Mapping[str, str]
) -> UnpauseActivityResponse:
    _check(request)
    run, chosen = await _chosen(engine, request)
    turn = engine.turn(run)
    for activity in chosen:
        activity_operators.unpause(
            turn,
            activity,
            request.identity,
            reset_attempts=request.reset_attempts,
            reset_heartbeat=request.reset_heartbeat,
            offset=offset(request.jitter),
        )
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return UnpauseActivityResponse()


async def reset_activity(
    engine: Engine, request: ResetActivityRequest, metadata: Mapping[str, str]
) -> ResetActivityResponse:
    _check(request)
    run, chosen = await _chosen(engine, request)
    turn = engine.turn(run)
    for activity in chosen:
        activity_operators.reset(
            turn,
            activity,
            request.identity,
            reset_heartbeat=request.reset_heartbeat,
            keep_paused=request.keep_paused,
            restore_options=request.restore_original_options,
            offset=offset(request.jitter),
        )
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return ResetActivityResponse()


async def update_activity_options(
    engine: Engine, request: UpdateActivityOptionsRequest, metadata: Mapping[str, str]
) -> UpdateActivityOptionsResponse:
    _check(request)
    check_priority(request.activity_options.priority)
    if request.restore_original and request.update_mask.paths:
        raise invalid("Both UpdateMask and RestoreOriginal are provided")
    run = await find_open_run(engine, request.namespace, request.execution)
    if not request.restore_original and not request.HasField("activity_options"):
        raise invalid("ActivityOptions are not provided")
    run, chosen = await _chosen(engine, request)
    if not request.restore_original and not request.HasField("update_mask"):
        raise invalid("UpdateMask is not provided")
    merged = []
    for activity in chosen:
        options = activity_options.of(activity.attributes)
        if not request.restore_original:
            activity_options.merge(options, request.activity_options, request.update_mask.paths)
            activity_options.check(options, activity.id, activity.type)
        merged.append((activity, options))
    turn = engine.turn(run)
    for activity, options in merged:
        if request.restore_original:
            options = activity_operators.restore_original(turn, activity, request.identity)
        else:
            options = activity_operators.update_options(turn, activity, request.identity, options)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return UpdateActivityOptionsResponse(activity_options=options)


HANDLERS: Handlers = {
    "PauseActivity": pause_activity,
    "UnpauseActivity": unpause_activity,
    "ResetActivity": reset_activity,
    "UpdateActivityOptions": update_activity_options,
}
