"""The worker's side of activities, and their completion from elsewhere by id. TEMPORAL.md, section 8."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatByIdRequest,
    RecordActivityTaskHeartbeatByIdResponse,
    RecordActivityTaskHeartbeatRequest,
    RecordActivityTaskHeartbeatResponse,
    RespondActivityTaskCanceledByIdRequest,
    RespondActivityTaskCanceledByIdResponse,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCanceledResponse,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedByIdResponse,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskCompletedResponse,
    RespondActivityTaskFailedByIdRequest,
    RespondActivityTaskFailedByIdResponse,
    RespondActivityTaskFailedRequest,
    RespondActivityTaskFailedResponse,
)

from perdure.engine import activities, standalone
from perdure.engine.activity_options import mismatched
from perdure.engine.errors import invalid, not_found
from perdure.engine.failures import head, server
from perdure.engine.priorities import inherited
from perdure.engine.processes import is_own, is_process_name
from perdure.engine.protos import SECOND, timestamp
from perdure.engine.rpc.common import (
    Handlers,
    Token,
    find_open_run,
    find_standalone,
    find_token_run,
    no_activity,
    poll_request,
    scale,
    token_run,
)
from perdure.engine.runs import Run
from perdure.engine.state import Activity
from perdure.engine.task_queues import QueueKey
from perdure.engine.turn import Turn
from perdure.engine.worker_versions import version_of_worker

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_ById: TypeAlias = (
    RespondActivityTaskCompletedByIdRequest
    | RespondActivityTaskFailedByIdRequest
    | RespondActivityTaskCanceledByIdRequest
    | RecordActivityTaskHeartbeatByIdRequest
)
_ByToken: TypeAlias = (
    RespondActivityTaskCompletedRequest
    | RespondActivityTaskFailedRequest
    | RespondActivityTaskCanceledRequest
    | RecordActivityTaskHeartbeatRequest
)
_GONE = "invalid activityID or activity already timed out or invoking workflow is completed"
_HEARTBEAT_TOO_BIG = server("Heartbeat details exceed size limit.", non_retryable=True)


async def poll_activity_task_queue(
    engine: Engine, request: PollActivityTaskQueueRequest, metadata: Mapping[str, str]
) -> PollActivityTaskQueueResponse:
    if not request.task_queue.name:
        raise invalid("TaskQueue is not set on request.")
    key = QueueKey(request.namespace, request.task_queue.name, "activity")
    poller = poll_request(engine, request)
    if request.task_queue_metadata.HasField("max_tasks_per_second"):
        poller.rate = request.task_queue_metadata.max_tasks_per_second.value
    while True:
        offer = await engine.matching.poll(key, poller, engine.limits.worker_poll / SECOND)
        if offer is None:
            return PollActivityTaskQueueResponse()
        run = engine.runs.in_memory(offer.run_id)
        if run is None or not offer.valid():
            continue
        worker = version_of_worker(request.deployment_options)
        if engine.routing.moves_first(run.ex, worker):
            turn = engine.turn(run)
            engine.routing.move_first(turn, worker)
            engine.commit(turn)
            continue
        scheduled = run.ticket  # the commit that holds the schedule, and what led to it
        activity = run.ex.activities[int(offer.id)]
        once = activity.policy.maximum_attempts == 1
        response = start_for(engine, run, activity.scheduled_id, request.identity, metadata)
        scale(response.poller_scaling_decision, offer)
        # the start itself must be committed first only where a second try is forbidden, or the worker outlives us
        safe = is_own(request.identity) and not once
        try:
            await engine.journal.durable(scheduled if safe else run.ticket)
        except asyncio.CancelledError:
            _take_back(engine, run, activity, response.attempt)
            raise
        return response


def _take_back(engine: Engine, run: Run, activity: Activity, attempt: int) -> None:
    """The caller went before it was told of its attempt: the attempt is over, the next one is due."""
    if (
        run.ex.activities.get(activity.scheduled_id) is activity
        and activity.started
        and activity.attempt == attempt
    ):
        turn = engine.turn(run)
        activities.lose_attempt(turn, activity, "the worker's poll ended before the attempt was handed over")
        engine.commit(turn)


def start_for(
    engine: Engine, run: Run, scheduled_id: int, identity: str, metadata: Mapping[str, str] = {}
) -> PollActivityTaskQueueResponse:
    """Starts the current attempt for a worker. `metadata`: of its call, which names its SDK."""
    ex = run.ex
    activity = ex.activities[scheduled_id]
    turn = engine.turn(run)
    process = identity if is_process_name(identity) else ""
    sdk = (metadata.get("client-name", ""), metadata.get("client-version", ""))
    activities.start_attempt(turn, activity, identity, process, sdk)
    engine.commit(turn)
    attributes = activity.attributes
    timeouts = (
        attributes if activity.standalone else activity.original
    )  # a worker is not told of changed ones
    response = PollActivityTaskQueueResponse(
        task_token=_token(run, activity),
        workflow_namespace=ex.namespace,
        activity_type=attributes.activity_type,
        activity_id=attributes.activity_id,
        scheduled_time=timestamp(activity.scheduled_time),
        current_attempt_scheduled_time=timestamp(activity.due_time),
        started_time=timestamp(activity.started_time),
        attempt=activity.attempt,
        schedule_to_close_timeout=timeouts.schedule_to_close_timeout,
        start_to_close_timeout=timeouts.start_to_close_timeout,
        heartbeat_timeout=timeouts.heartbeat_timeout,
        retry_policy=attributes.retry_policy,
        heartbeat_details=activity.heartbeat_details,
    )
    if activity.standalone:
        response.workflow_execution.SetInParent()
        response.activity_run_id = ex.run_id
    else:
        response.workflow_type.name = ex.workflow_type
        response.workflow_execution.workflow_id = ex.workflow_id
        response.workflow_execution.run_id = ex.run_id
    for name in ("header", "input"):
        if attributes.HasField(name):
            getattr(response, name).CopyFrom(getattr(attributes, name))
    if attributes.HasField("priority") or ex.priority.ByteSize():
        response.priority.CopyFrom(inherited(ex.priority, attributes.priority))
    return response


def _token(run: Run, activity: Activity) -> bytes:
    ex = run.ex
    return Token(
        ex.namespace,
        ex.workflow_id,
        ex.run_id,
        activity.scheduled_id,
        str(activity.started_time),
        activity.attempt,
        ex.division,
    ).encode()


async def _by_token(engine: Engine, token_bytes: bytes) -> tuple[Run, Activity]:
    token = Token.decode(token_bytes)
    gone = no_activity(token.workflow_id) if token.division else not_found(_GONE)
    run = await (find_token_run if token.division else token_run)(engine, token)
    activity = run.ex.activities.get(token.id) if run.ex.open else None
    if (
        activity is None
        or not activity.started
        or (str(activity.started_time), activity.attempt) != (token.started, token.attempt)
    ):
        raise gone
    return run, activity


async def _by_id(engine: Engine, request: _ById) -> tuple[Run, Activity]:
    """The pending activity with that id. One that no worker took can only be completed: that counts as its start, too."""
    if not request.activity_id:
        raise invalid("ActivityId is not set on request.")
    may_wait = isinstance(request, RespondActivityTaskCompletedByIdRequest)
    if not request.workflow_id:
        return await _standalone_by_id(engine, request, may_wait)
    execution = WorkflowExecution(workflow_id=request.workflow_id, run_id=request.run_id)
    run = await find_open_run(engine, request.namespace, execution)
    scheduled_id = run.ex.activity_ids.get(request.activity_id)
    activity = run.ex.activities.get(scheduled_id) if scheduled_id is not None else None
    if activity is None:
        raise not_found(
            f"cannot find pending activity with ActivityID {request.activity_id}, "
            "check workflow execution history for more details"
        )
    if not activity.started and not may_wait:
        raise not_found(_GONE)
    return run, activity


async def _standalone_by_id(engine: Engine, request: _ById, may_wait: bool) -> tuple[Run, Activity]:
    run = await find_standalone(engine, request.namespace, request.activity_id, request.run_id)
    activity = standalone.the_activity(run.ex)
    if not run.ex.open and may_wait:
        raise standalone.failed_precondition(f"invalid transition from {standalone.state_word(run.ex)}")
    if not run.ex.open or not (activity.started or may_wait):
        raise no_activity(request.activity_id)
    return run, activity


async def _find(engine: Engine, request: _ById | _ByToken) -> tuple[Run, Activity]:
    if len(request.identity.encode()) > engine.limits.id_length:
        raise invalid("Identity length exceeds limit.")
    if isinstance(request, _ById):
        return await _by_id(engine, request)
    return await _by_token(engine, request.task_token)


async def _end(engine: Engine, run: Run, decide: Callable[[Turn], None]) -> None:
    turn = engine.turn(run)
    decide(turn)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)


async def _fail(engine: Engine, run: Run, activity: Activity, identity: str, failure: Failure | None) -> None:
    if not activity.started:  # a result that is too big, for one that nobody took
        raise no_activity(activity.id) if activity.standalone else not_found(_GONE)
    await _end(engine, run, lambda turn: activities.fail_activity(turn, activity, failure, identity))


def _optional(request: Message, name: str) -> Payloads | None:
    return getattr(request, name) if request.HasField(name) else None


def _too_big(engine: Engine, value: Message | None) -> bool:
    return value is not None and value.ByteSize() > engine.limits.blob_error


async def respond_activity_task_completed(
    engine: Engine,
    request: RespondActivityTaskCompletedRequest | RespondActivityTaskCompletedByIdRequest,
    metadata: Mapping[str, str],
) -> Message:
    run, activity = await _find(engine, request)
    result = _optional(request, "result")
    if _too_big(engine, result):
        failure = server("Complete result exceeds size limit.", non_retryable=True)
        await _fail(engine, run, activity, request.identity, failure)
    else:
        await _end(
            engine,
            run,
            lambda turn: activities.complete_activity(turn, activity, result, request.identity),
        )
    if isinstance(request, RespondActivityTaskCompletedByIdRequest):
        return RespondActivityTaskCompletedByIdResponse()
    return RespondActivityTaskCompletedResponse()


async def respond_activity_task_failed(
    engine: Engine,
    request: RespondActivityTaskFailedRequest | RespondActivityTaskFailedByIdRequest,
    metadata: Mapping[str, str],
) -> Message:
    """What is too big of a failure or of its heartbeat is left out, and the answer says so."""
    by_id = isinstance(request, RespondActivityTaskFailedByIdRequest)
    given = request.HasField("failure")
    if given and not by_id and not request.failure.HasField("application_failure_info"):
        raise invalid("Failure must have ApplicationFailureInfo.")
    _check_next_retry_delay(request.failure)
    run, activity = await _find(engine, request)
    failure = request.failure if given else None
    details = _optional(request, "last_heartbeat_details")
    complaints: list[Failure] = []
    if _too_big(engine, details):
        complaints.append(_HEARTBEAT_TOO_BIG)
        details = None
    if failure is not None and _too_big(engine, failure):
        cause = head(failure, engine.limits.blob_warn)
        failure = server("Failure exceeds size limit.", non_retryable=True, cause=cause)
        complaints.append(failure)

    def decide(turn: Turn) -> None:
        if details is not None:
            activities.heartbeat(turn, activity, details)
        activities.fail_activity(turn, activity, failure, request.identity)

    await _end(engine, run, decide)
    if by_id:
        return RespondActivityTaskFailedByIdResponse(failures=complaints)
    return RespondActivityTaskFailedResponse(failures=complaints)


def _check_next_retry_delay(failure: Failure) -> None:
    """Of the failure and of all its causes."""
    while True:
        delay = failure.application_failure_info.next_retry_delay
        if wrong := mismatched(delay):
            raise invalid(f"NextRetryDelay is not a valid duration: {wrong}")
        if not failure.HasField("cause"):
            return
        failure = failure.cause


async def respond_activity_task_canceled(
    engine: Engine,
    request: RespondActivityTaskCanceledRequest | RespondActivityTaskCanceledByIdRequest,
    metadata: Mapping[str, str],
) -> Message:
    run, activity = await _find(engine, request)
    details = _optional(request, "details")
    if _too_big(engine, details):
        failure = server("Cancel details exceed size limit.", non_retryable=True)
        await _fail(engine, run, activity, request.identity, failure)
    elif not activity.cancel_requested_id:
        raise invalid("unable to mark activity as canceled without activity being request canceled first")
    else:
        await _end(
            engine,
            run,
            lambda turn: activities.cancel_activity(turn, activity, details, request.identity),
        )
    if isinstance(request, RespondActivityTaskCanceledByIdRequest):
        return RespondActivityTaskCanceledByIdResponse()
    return RespondActivityTaskCanceledResponse()


async def record_activity_task_heartbeat(
    engine: Engine,
    request: RecordActivityTaskHeartbeatRequest | RecordActivityTaskHeartbeatByIdRequest,
    metadata: Mapping[str, str],
) -> Message:
    run, activity = await _find(engine, request)
    answer: RecordActivityTaskHeartbeatResponse | RecordActivityTaskHeartbeatByIdResponse
    if isinstance(request, RecordActivityTaskHeartbeatByIdRequest):
        answer = RecordActivityTaskHeartbeatByIdResponse()
    else:
        answer = RecordActivityTaskHeartbeatResponse()
    details = _optional(request, "details")
    if _too_big(engine, details):
        await _fail(engine, run, activity, request.identity, _HEARTBEAT_TOO_BIG)
        answer.cancel_requested = True
        return answer
    turn = engine.turn(run)
    activities.heartbeat(turn, activity, details)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    for name, flag in activities.heartbeat_flags(activity).items():
        setattr(answer, name, flag)
    return answer


HANDLERS: Handlers = {
    "PollActivityTaskQueue": poll_activity_task_queue,
    "RespondActivityTaskCompleted": respond_activity_task_completed,
    "RespondActivityTaskCompletedById": respond_activity_task_completed,
    "RespondActivityTaskFailed": respond_activity_task_failed,
    "RespondActivityTaskFailedById": respond_activity_task_failed,
    "RespondActivityTaskCanceled": respond_activity_task_canceled,
    "RespondActivityTaskCanceledById": respond_activity_task_canceled,
    "RecordActivityTaskHeartbeat": record_activity_task_heartbeat,
    "RecordActivityTaskHeartbeatById": record_activity_task_heartbeat,
}
