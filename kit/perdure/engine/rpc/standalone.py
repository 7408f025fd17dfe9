"""Standalone activities: start, describe, wait for the outcome, list, cancel, terminate, delete. TEMPORAL.md, section 21.

What else operators do to them is in `standalone_operators`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import ActivityIdConflictPolicy, ActivityIdReusePolicy
from temporalio.api.errordetails.v1 import ActivityExecutionAlreadyStartedFailure
from temporalio.api.workflowservice.v1 import (
    CountActivityExecutionsRequest,
    CountActivityExecutionsResponse,
    DeleteActivityExecutionRequest,
    DeleteActivityExecutionResponse,
    DescribeActivityExecutionRequest,
    DescribeActivityExecutionResponse,
    ListActivityExecutionsRequest,
    ListActivityExecutionsResponse,
    PauseActivityExecutionRequest,
    PollActivityExecutionRequest,
    PollActivityExecutionResponse,
    RequestCancelActivityExecutionRequest,
    RequestCancelActivityExecutionResponse,
    ResetActivityExecutionRequest,
    StartActivityExecutionRequest,
    StartActivityExecutionResponse,
    TerminateActivityExecutionRequest,
    TerminateActivityExecutionResponse,
    UnpauseActivityExecutionRequest,
    UpdateActivityExecutionOptionsRequest,
)

from perdure.engine import activity_options, search_attributes, standalone, standalone_info
from perdure.engine.checks import check_links, is_uuid
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.protos import SECOND
from perdure.engine.rpc import listing
from perdure.engine.rpc.common import Handlers, find_standalone
from perdure.engine.rpc.deleting import delete_execution
from perdure.engine.runs import FAILED, Run
from perdure.engine.standalone import ALIASES, DIVISION
from perdure.engine.turn import Turn

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_Reuse = ActivityIdReusePolicy
_Conflict = ActivityIdConflictPolicy
Named: TypeAlias = (
    DescribeActivityExecutionRequest
    | PollActivityExecutionRequest
    | DeleteActivityExecutionRequest
    | RequestCancelActivityExecutionRequest
    | TerminateActivityExecutionRequest
    | PauseActivityExecutionRequest
    | UnpauseActivityExecutionRequest
    | ResetActivityExecutionRequest
    | UpdateActivityExecutionOptionsRequest
)


# --- start


async def start_activity_execution(
    engine: Engine, request: StartActivityExecutionRequest, metadata: Mapping[str, str]
) -> StartActivityExecutionResponse:
    request = _checked(engine, request)
    current = await engine.runs.latest(request.namespace, request.activity_id, DIVISION)
    existing = None if current is None else _existing(request, current)
    if existing is None:
        turn = standalone.begin(request, engine.new_id(), engine.clock.now(), engine.limits)
        run = engine.runs.add(turn.ex)
        engine.commit(turn)
    else:
        run = existing
    await engine.journal.durable(run.ticket)
    response = StartActivityExecutionResponse(run_id=run.ex.run_id, started=existing is None, link=Link())
    response.link.activity.namespace = request.namespace
    response.link.activity.activity_id = request.activity_id
    response.link.activity.run_id = run.ex.run_id
    return response


def _checked(engine: Engine, request: StartActivityExecutionRequest) -> StartActivityExecutionRequest:
    standalone.check_start(request, engine.limits)
    if request.HasField("search_attributes"):
        custom = engine.search_attributes.of(request.namespace)
        search_attributes.check(request.search_attributes, custom, engine.limits, request.namespace)
        typed = search_attributes.typed(request.search_attributes, custom)
        request.search_attributes.CopyFrom(typed)
    if request.completion_callbacks:
        raise invalid("completion callbacks are not enabled for this namespace")
    check_links(request.links)
    for kind, value, known in (
        ("reuse", request.id_reuse_policy, _Reuse.values()),
        ("conflict", request.id_conflict_policy, _Conflict.values()),
    ):
        if value not in known:
            raise invalid(f"unsupported ID {kind} policy: {value}")
    return request


def _existing(request: StartActivityExecutionRequest, current: Run) -> Run | None:
    """The run that the request means, if it may not start another. Raises ALREADY_EXISTS."""
    ex = current.ex
    if request.request_id and request.request_id == ex.start_request_id:
        return current
    if ex.open:
        allowed = request.id_conflict_policy == _Conflict.ACTIVITY_ID_CONFLICT_POLICY_USE_EXISTING
        if allowed and not (request.on_conflict_options.attach_links and request.links):
            return current
        if allowed:
            raise ServiceError(
                Code.UNIMPLEMENTED,
                "on_conflict_options.attach_links: perdure's engine keeps the links that an activity is started with",
            )
    elif request.id_reuse_policy == _Reuse.ACTIVITY_ID_REUSE_POLICY_REJECT_DUPLICATE:
        allowed = False
    elif request.id_reuse_policy == _Reuse.ACTIVITY_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY:
        allowed = ex.status in FAILED
    else:
        allowed = True
    if not allowed:
        raise ServiceError(
            Code.ALREADY_EXISTS,
            "activity execution already started",
            ActivityExecutionAlreadyStartedFailure(start_request_id=ex.start_request_id, run_id=ex.run_id),
        )
    return None


# --- reading


async def named_run(engine: Engine, request: Named) -> Run:
    check_named(engine, request)
    return await find_standalone(engine, request.namespace, request.activity_id, request.run_id)


def check_named(engine: Engine, request: Named) -> None:
    if not request.activity_id:
        raise invalid("activity ID is required")
    activity_options.check_name_length("activity ID", request.activity_id, engine.limits)
    for field, title in (("request_id", "request ID"), ("identity", "identity")):
        activity_options.check_name_length(title, getattr(request, field, ""), engine.limits)
    if request.run_id and not is_uuid(request.run_id):
        raise invalid("invalid run id: must be a valid UUID")
    if len(getattr(request, "reason", "").encode()) > engine.limits.blob_error:
        raise invalid("reason exceeds length limit")


async def describe_activity_execution(
    engine: Engine, request: DescribeActivityExecutionRequest, metadata: Mapping[str, str]
) -> DescribeActivityExecutionResponse:
    """What is known of an activity; with the token of an earlier answer, not before anything has changed since."""
    if request.long_poll_token and not request.run_id:
        raise invalid("run id is required when long poll token is provided")
    run = await named_run(engine, request)
    if request.long_poll_token and not await _changed(engine, run, request.long_poll_token):
        return DescribeActivityExecutionResponse()
    ex = run.ex
    await engine.journal.durable(run.ticket)
    response = DescribeActivityExecutionResponse(
        run_id=ex.run_id,
        info=standalone_info.describe(
            ex,
            engine.clock.now(),
            with_heartbeat=request.include_heartbeat_details,
            with_failure=request.include_last_failure,
        ),
        long_poll_token=_long_poll_token(engine, run),
    )
    scheduled = standalone.the_activity(ex).original
    if request.include_input and scheduled.HasField("input"):
        response.input.CopyFrom(scheduled.input)
    if request.include_outcome and (outcome := standalone.outcome(ex)) is not None:
        response.outcome.CopyFrom(outcome)
    return response


def _long_poll_token(engine: Engine, run: Run) -> bytes:
    return json.dumps([run.ex.run_id, engine.incarnation, run.ex.transitions]).encode()


async def _changed(engine: Engine, run: Run, token: bytes) -> bool:
    """Waits until the activity is no longer as it was when the token was given; False if that takes too long."""
    try:
        run_id, incarnation, transitions = json.loads(token)
    except (ValueError, TypeError):
        raise invalid("invalid long poll token") from None
    if run_id != run.ex.run_id:
        raise invalid("long poll token does not match execution")
    if incarnation != engine.incarnation:
        return True
    return await _wait(engine, run, lambda: run.ex.transitions != transitions)


async def _wait(engine: Engine, run: Run, reached: Callable[[], bool]) -> bool:
    end = engine.clock.now() + engine.limits.long_poll
    while not reached():
        left = end - engine.clock.now()
        if left <= 0 or not await run.change(left / SECOND):
            return reached()
    return True


async def poll_activity_execution(
    engine: Engine, request: PollActivityExecutionRequest, metadata: Mapping[str, str]
) -> PollActivityExecutionResponse:
    """Waits for the outcome; an empty answer says to ask again."""
    run = await named_run(engine, request)
    if not await _wait(engine, run, lambda: not run.ex.open):
        return PollActivityExecutionResponse()
    await engine.journal.durable(run.ticket)
    return PollActivityExecutionResponse(run_id=run.ex.run_id, outcome=standalone.outcome(run.ex))


async def list_activity_executions(
    engine: Engine, request: ListActivityExecutionsRequest, metadata: Mapping[str, str]
) -> ListActivityExecutionsResponse:
    where = listing.scope(engine, request.namespace, DIVISION, ALIASES)
    page = await listing.find_page(engine, where, request.query, request.page_size, request.next_page_token)
    return ListActivityExecutionsResponse(
        executions=[standalone_info.listed(row) for row in page.rows], next_page_token=page.next
    )


async def count_activity_executions(
    engine: Engine, request: CountActivityExecutionsRequest, metadata: Mapping[str, str]
) -> CountActivityExecutionsResponse:
    where = listing.scope(engine, request.namespace, DIVISION, ALIASES)
    rows = await listing.count(engine, where, request.query)
    response = CountActivityExecutionsResponse(count=sum(number for _, number in rows))
    for values, number in rows:
        if values:
            group = response.groups.add(count=number)
            group.group_values.extend(listing.group_value(value) for value in values)
    return response


# --- cancel, terminate, delete


async def request_cancel_activity_execution(
    engine: Engine, request: RequestCancelActivityExecutionRequest, metadata: Mapping[str, str]
) -> RequestCancelActivityExecutionResponse:
    run = await named_run(engine, request)
    request_id = request.request_id or str(uuid.uuid4())
    turn = engine.turn(run)
    standalone.request_cancel(turn, request.identity, request.reason, request_id)
    await commit_turn(engine, run, turn)
    return RequestCancelActivityExecutionResponse()


async def terminate_activity_execution(
    engine: Engine, request: TerminateActivityExecutionRequest, metadata: Mapping[str, str]
) -> TerminateActivityExecutionResponse:
    run = await named_run(engine, request)
    turn = engine.turn(run)
    standalone.terminate(turn, request.identity, request.reason, request.request_id or str(uuid.uuid4()))
    await commit_turn(engine, run, turn)
    return TerminateActivityExecutionResponse()


async def delete_activity_execution(
    engine: Engine, request: DeleteActivityExecutionRequest, metadata: Mapping[str, str]
) -> DeleteActivityExecutionResponse:
    """Ends the activity if it runs, and takes all its records away."""
    await delete_execution(engine, await named_run(engine, request))
    return DeleteActivityExecutionResponse()


async def commit_turn(engine: Engine, run: Run, turn: Turn) -> None:
    if turn.records:
        engine.commit(turn)
    await engine.journal.durable(run.ticket)


HANDLERS: Handlers = {
    "StartActivityExecution": start_activity_execution,
    "DescribeActivityExecution": describe_activity_execution,
    "PollActivityExecution": poll_activity_execution,
    "ListActivityExecutions": list_activity_executions,
    "CountActivityExecutions": count_activity_executions,
    "RequestCancelActivityExecution": request_cancel_activity_execution,
    "TerminateActivityExecution": terminate_activity_execution,
    "DeleteActivityExecution": delete_activity_execution,
}
