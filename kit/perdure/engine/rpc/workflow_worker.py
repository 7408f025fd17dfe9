"""The worker's side of workflow tasks. TEMPORAL.md, sections 1.3, 7 and 14."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType, TaskQueueKind, WorkflowTaskFailedCause
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollNexusTaskQueueRequest,
    PollNexusTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondQueryTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskCompletedResponse,
    RespondWorkflowTaskFailedRequest,
    RespondWorkflowTaskFailedResponse,
)

from perdure.engine import completion, updates
from perdure.engine.closing import terminate_run
from perdure.engine.errors import invalid, not_found
from perdure.engine.processes import is_own, is_process_name
from perdure.engine.protos import SECOND, timestamp
from perdure.engine.rpc import activity_worker
from perdure.engine.rpc.common import Handlers, Token, find_token_run, poll_request, scale, token_run
from perdure.engine.runs import DIRECT, Query, Run
from perdure.engine.state import Execution, WorkflowTask
from perdure.engine.task_queues import PollRequest, QueueKey
from perdure.engine.turn import Turn
from perdure.engine.worker_versions import Version, version_of_worker
from perdure.engine.workflow_tasks import fail_task, start_task, virtual_events

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


_FOLLOWING = "request-from-RespondWorkflowTaskCompleted"  # the request id of a task that comes with an answer


async def poll_workflow_task_queue(
    engine: Engine, request: PollWorkflowTaskQueueRequest, metadata: Mapping[str, str]
) -> PollWorkflowTaskQueueResponse:
    if not request.task_queue.name:
        raise invalid("TaskQueue is not set on request.")
    key = QueueKey(request.namespace, request.task_queue.name, "workflow")
    poller = poll_request(engine, request)
    while True:
        offer = await engine.matching.poll(key, poller, engine.limits.worker_poll / SECOND)
        if offer is None:
            return PollWorkflowTaskQueueResponse()
        if not offer.valid():
            continue
        run = engine.runs.in_memory(offer.run_id)
        if run is None:
            continue
        sticky = request.task_queue.name == run.ex.sticky_queue
        if offer.what == "query":
            if query := run.queries.get(str(offer.id)):
                await engine.journal.durable(run.ticket)
                return _query_task(run, query, sticky)
            continue
        worker = version_of_worker(request.deployment_options)
        response, ticket = start_for(engine, run, request.identity, sticky, worker)
        scale(response.poller_scaling_decision, offer)
        # a worker in this process shares the engine's fate: it may begin before the commit
        if not is_own(request.identity):
            await _committed(engine, run, ticket)
        return response


async def _committed(engine: Engine, run: Run, ticket: int) -> None:
    """Waits for the commit; if the caller goes meanwhile, the task that it will never see is ended at once."""
    try:
        await engine.journal.durable(ticket)
    except asyncio.CancelledError:
        engine.retry_now(run)
        raise


def start_for(
    engine: Engine, run: Run, identity: str, warm: bool, worker: Version | None
) -> tuple[PollWorkflowTaskQueueResponse, int]:
    """Starts the pending task of a run for a worker, and commits that."""
    turn = engine.turn(run)
    response = take(engine, run, turn, identity, warm, worker)
    return response, engine.commit(turn)


def take(
    engine: Engine,
    run: Run,
    turn: Turn,
    identity: str,
    warm: bool,
    worker: Version | None,
    request_id: str = "",
) -> PollWorkflowTaskQueueResponse:
    """The task as a worker gets it; with the events since its last task only, if its cache is warm.

    `request_id`: of the request that it answers, where that is not a poll.
    """
    ex = run.ex
    target = engine.routing.target(ex)
    changed = ex.versioning.begin_task(worker, target)
    task = start_task(turn, identity, request_id or engine.new_id(), target_changed=changed)
    if not task.speculative and ex.versioning.move_to(worker, target):
        ex.sticky_queue = ""
    response = PollWorkflowTaskQueueResponse(
        task_token=_token(ex, task),
        workflow_execution=WorkflowExecution(workflow_id=ex.workflow_id, run_id=ex.run_id),
        workflow_type=WorkflowType(name=ex.workflow_type),
        previous_started_event_id=ex.previous_started_id,
        started_event_id=task.started_id,
        attempt=task.attempt,
        workflow_execution_task_queue=TaskQueue(
            name=ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        ),
        scheduled_time=timestamp(task.scheduled_time),
        started_time=timestamp(task.started_time),
        messages=updates.outgoing(ex, task),
    )
    events: list[HistoryEvent] = ex.events[ex.previous_started_id :] if warm else ex.events
    response.history.events.extend(events)
    if task.virtual:
        response.history.events.extend(virtual_events(turn, task))
    for query in run.queries.values():
        # one that an earlier task carried and did not answer rides again
        if query.task_stamp != DIRECT and not query.answer.done():
            query.task_stamp = task.stamp
            response.queries[query.id].CopyFrom(query.query)
    return response


def _token(ex: Execution, task: WorkflowTask) -> bytes:
    return Token(
        ex.namespace, ex.workflow_id, ex.run_id, task.scheduled_id, task.request_id, task.attempt
    ).encode()


def _query_task(run: Run, query: Query, sticky: bool) -> PollWorkflowTaskQueueResponse:
    ex = run.ex
    token = Token(ex.namespace, ex.workflow_id, ex.run_id, 0, query.id)
    return PollWorkflowTaskQueueResponse(
        task_token=token.encode(),
        workflow_execution=WorkflowExecution(workflow_id=ex.workflow_id, run_id=ex.run_id),
        workflow_type=WorkflowType(name=ex.workflow_type),
        previous_started_event_id=ex.previous_started_id,
        attempt=1,
        history=History() if sticky else History(events=ex.events),
        query=query.query,
        workflow_execution_task_queue=TaskQueue(
            name=ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        ),
    )


async def _find_task(engine: Engine, token_bytes: bytes) -> tuple[Run, WorkflowTask]:
    """The started task of a token. Raises NOT_FOUND when it is another one by now."""
    token = Token.decode(token_bytes)
    run = await find_token_run(engine, token)
    task = run.ex.task
    if (
        not run.ex.open
        or task is None
        or not task.started
        or (task.scheduled_id, task.request_id, task.attempt) != (token.id, token.started, token.attempt)
    ):
        raise not_found("Workflow task not found.")
    return run, task


async def respond_workflow_task_completed(
    engine: Engine, request: RespondWorkflowTaskCompletedRequest, metadata: Mapping[str, str]
) -> RespondWorkflowTaskCompletedResponse:
    if request.versioning_behavior and version_of_worker(request.deployment_options) is None:
        raise invalid(
            "versioning behavior cannot be specified without deployment options being set with versioned mode"
        )
    run, _ = await _find_task(engine, request.task_token)
    await _recall(engine, run, request)
    run, task = await _find_task(engine, request.task_token)  # a look-up may have let time pass
    identity = request.identity or task.identity
    if is_process_name(identity):
        engine.search_attributes.learn(run.ex.namespace, request.commands)
    turn = engine.turn(run)
    outcome = completion.complete(turn, request, engine.new_id)
    # the worker's slots are its own business: whatever it asked for eagerly, it has reserved
    worker = version_of_worker(request.deployment_options)
    eager = [i for i in outcome.eager if engine.routing.accepts_activity(identity, worker, run.ex, i)]
    completion.offer_rest(turn, [i for i in outcome.eager if i not in eager])
    _answer_queries(run, request.query_results.items())
    response = RespondWorkflowTaskCompletedResponse(reset_history_event_id=outcome.reset_to)
    if request.return_new_workflow_task and outcome.error is None and _may_go_on(engine, run, worker):
        # in the same turn: what the commands set off elsewhere finds the task started already
        following = take(engine, run, turn, identity, True, worker, _FOLLOWING)
        response.workflow_task.CopyFrom(following)
    engine.commit(turn)
    for scheduled_id in eager:
        response.activity_tasks.append(activity_worker.start_for(engine, run, scheduled_id, identity))
    await engine.journal.durable(run.ticket)
    if outcome.error is not None:
        raise outcome.error
    return response


def _may_go_on(engine: Engine, run: Run, worker: Version | None) -> bool:
    """Whether the run's next task may go to the worker that has just completed one."""
    ex = run.ex
    if not ex.open or ex.task is None or ex.task.started:
        return False
    return worker == engine.routing.workflow_version(ex) or ex.versioning.own


async def _recall(engine: Engine, run: Run, request: RespondWorkflowTaskCompletedRequest) -> None:
    """Brings into memory what commands are decided by: the last run of each child id, the run that a cancel request names."""
    for command in request.commands:
        cancel = command.request_cancel_external_workflow_execution_command_attributes
        if cancel.run_id:
            await engine.runs.get(cancel.namespace or run.ex.namespace, cancel.workflow_id, cancel.run_id)
        if command.command_type == CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
            attributes = command.start_child_workflow_execution_command_attributes
            await engine.runs.latest(attributes.namespace or run.ex.namespace, attributes.workflow_id)


def _answer_queries(run: Run, results: Iterable[tuple[str, WorkflowQueryResult]]) -> None:
    for query_id, result in results:
        query = run.queries.get(query_id)
        if query is not None and not query.answer.done():
            answer = RespondQueryTaskCompletedRequest(
                completed_type=result.result_type,
                query_result=result.answer if result.HasField("answer") else None,
                error_message=result.error_message,
                failure=result.failure if result.HasField("failure") else None,
            )
            query.answer.set_result(answer)


async def respond_workflow_task_failed(
    engine: Engine, request: RespondWorkflowTaskFailedRequest, metadata: Mapping[str, str]
) -> RespondWorkflowTaskFailedResponse:
    await token_run(engine, Token.decode(request.task_token))  # a closed run is told apart from a stale task
    run, _ = await _find_task(engine, request.task_token)
    turn = engine.turn(run)
    failure = request.failure if request.HasField("failure") else None
    if request.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE:
        terminate_run(
            turn, "GrpcMessageTooLarge", None, "history-service"
        )  # it will be as large the next time
    else:
        fail_task(turn, request.cause, failure, request.identity)
    engine.commit(turn)
    await engine.journal.durable(run.ticket)
    return RespondWorkflowTaskFailedResponse()


async def poll_nexus_task_queue(
    engine: Engine, request: PollNexusTaskQueueRequest, metadata: Mapping[str, str]
) -> PollNexusTaskQueueResponse:
    """Waits, and finds nothing: there are no Nexus operations yet, but workers poll for them, and retry if refused."""
    key = QueueKey(request.namespace, request.task_queue.name, "nexus")
    poller = PollRequest(request.identity, request.worker_instance_key, lambda group: False)
    await engine.matching.poll(key, poller, engine.limits.worker_poll / SECOND)
    return PollNexusTaskQueueResponse()


HANDLERS: Handlers = {
    "PollWorkflowTaskQueue": poll_workflow_task_queue,
    "RespondWorkflowTaskCompleted": respond_workflow_task_completed,
    "RespondWorkflowTaskFailed": respond_workflow_task_failed,
    "PollNexusTaskQueue": poll_nexus_task_queue,
}
