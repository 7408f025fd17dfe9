"""What operators do to one activity that they name by its id: hold it, let it go on, begin it anew, change its options.

A request that names a workflow means an activity of that workflow, and goes to `activity_operators` in its older form; the others mean
standalone activities. TEMPORAL.md, sections 18 and 21.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from temporalio.api.workflowservice.v1 import (
    PauseActivityExecutionRequest,
    PauseActivityExecutionResponse,
    PauseActivityRequest,
    ResetActivityExecutionRequest,
    ResetActivityExecutionResponse,
    ResetActivityRequest,
    UnpauseActivityExecutionRequest,
    UnpauseActivityExecutionResponse,
    UnpauseActivityRequest,
    UpdateActivityExecutionOptionsRequest,
    UpdateActivityExecutionOptionsResponse,
    UpdateActivityOptionsRequest,
)

from perdure.engine import activity_options
from perdure.engine import standalone_operators as operators
from perdure.engine.protos import copy_shared
from perdure.engine.rpc import activity_operators
from perdure.engine.rpc.common import Handlers
from perdure.engine.rpc.standalone import Named, check_named, commit_turn, named_run
from perdure.engine.turn import Turn

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_Older = TypeVar(
    "_Older", PauseActivityRequest, UnpauseActivityRequest, ResetActivityRequest, UpdateActivityOptionsRequest
)
_Answer = TypeVar("_Answer")


def _older(request: Named, older: _Older) -> _Older | None:
    """The request in its older form, if it names a workflow."""
    workflow_id = getattr(request, "workflow_id", "")
    if not workflow_id:
        return None
    copy_shared(request, older)
    older.execution.workflow_id, older.execution.run_id = workflow_id, request.run_id
    older.id = request.activity_id
    return older


async def _change(engine: Engine, request: Named, decide: Callable[[Turn], _Answer]) -> _Answer:
    """Carries out a decision about a standalone activity."""
    run = await named_run(engine, request)
    turn = engine.turn(run)
    answer = decide(turn)
    await commit_turn(engine, run, turn)
    return answer


async def pause_activity_execution(
    engine: Engine, request: PauseActivityExecutionRequest, metadata: Mapping[str, str]
) -> PauseActivityExecutionResponse:
    check_named(engine, request)
    if (older := _older(request, PauseActivityRequest())) is not None:
        older.request_id = older.request_id or str(uuid.uuid4())
        await activity_operators.pause_activity(engine, older, metadata)
    else:
        await _change(
            engine,
            request,
            lambda turn: operators.pause(turn, request.identity, request.reason, request.request_id),
        )
    return PauseActivityExecutionResponse()


async def unpause_activity_execution(
    engine: Engine, request: UnpauseActivityExecutionRequest, metadata: Mapping[str, str]
) -> UnpauseActivityExecutionResponse:
    check_named(engine, request)
    activity_options.check_duration("jitter", request.jitter)
    if (older := _older(request, UnpauseActivityRequest())) is not None:
        await activity_operators.unpause_activity(engine, older, metadata)
    else:
        offset = activity_operators.offset(request.jitter)
        await _change(
            engine,
            request,
            lambda turn: operators.unpause(
                turn, request.identity, request.reason, request.request_id, offset
            ),
        )
    return UnpauseActivityExecutionResponse()


async def reset_activity_execution(
    engine: Engine, request: ResetActivityExecutionRequest, metadata: Mapping[str, str]
) -> ResetActivityExecutionResponse:
    check_named(engine, request)
    activity_options.check_duration("jitter", request.jitter)
    if (older := _older(request, ResetActivityRequest())) is not None:
        await activity_operators.reset_activity(engine, older, metadata)
    else:
        offset = activity_operators.offset(request.jitter)
        await _change(engine, request, lambda turn: operators.reset(turn, request, offset))
    return ResetActivityExecutionResponse()


async def update_activity_execution_options(
    engine: Engine, request: UpdateActivityExecutionOptionsRequest, metadata: Mapping[str, str]
) -> UpdateActivityExecutionOptionsResponse:
    check_named(engine, request)
    operators.check_update(request)
    if (older := _older(request, UpdateActivityOptionsRequest())) is not None:
        options = (await activity_operators.update_activity_options(engine, older, metadata)).activity_options
    else:
        options = await _change(engine, request, lambda turn: operators.update_options(turn, request))
    return UpdateActivityExecutionOptionsResponse(activity_options=options)


HANDLERS: Handlers = {
    "PauseActivityExecution": pause_activity_execution,
    "UnpauseActivityExecution": unpause_activity_execution,
    "ResetActivityExecution": reset_activity_execution,
    "UpdateActivityExecutionOptions": update_activity_execution_options,
}
