"""What handlers share: finding runs, task tokens, waiting for a commit."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.taskqueue.v1 import PollerScalingDecision
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest, PollWorkflowTaskQueueRequest

from perdure.engine.errors import ServiceError, invalid, not_found
from perdure.engine.runs import Run
from perdure.engine.standalone import DIVISION
from perdure.engine.task_queues import Offer, PollRequest, QueueKey
from perdure.engine.worker_versions import check_options, version_of_worker

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

Handlers: TypeAlias = Mapping[
    str, Callable[..., Awaitable[Message]]
]  # (engine, request, metadata) -> response

COMPLETED = "workflow execution already completed"


async def find_run(engine: Engine, namespace: str, execution: WorkflowExecution) -> Run:
    """The run that is meant: by run id, or the newest of the workflow id. Raises NOT_FOUND."""
    if not execution.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if execution.run_id:
        run = await engine.runs.get(namespace, execution.workflow_id, execution.run_id)
    else:
        run = await engine.runs.latest(namespace, execution.workflow_id)
    if run is None:
        what = f"workflow not found for ID: {execution.workflow_id}"
        raise not_found(_no_run(execution.workflow_id, execution.run_id) if execution.run_id else what)
    return run


def _no_run(workflow_id: str, run_id: str) -> str:
    return f'workflow execution not found for workflow ID "{workflow_id}" and run ID "{run_id}"'


async def find_open_run(
    engine: Engine, namespace: str, execution: WorkflowExecution, first_run_id: str = ""
) -> Run:
    """Likewise, and it must be open, and of the chain that began with `first_run_id` if that is given."""
    run = await find_run(engine, namespace, execution)
    check_chain(run, first_run_id)
    if not run.ex.open:
        raise not_found(COMPLETED)
    return run


def check_chain(run: Run, first_run_id: str) -> None:
    if first_run_id and run.ex.first_run_id != first_run_id:
        raise not_found("workflow execution not found")


def poll_request(
    engine: Engine, request: PollWorkflowTaskQueueRequest | PollActivityTaskQueueRequest
) -> PollRequest:
    """Who polls, as the task queues want to know it."""
    options = request.deployment_options if request.HasField("deployment_options") else None
    version = version_of_worker(options)
    if options is not None and version is not None:
        check_options(options)
        workflow = isinstance(request, PollWorkflowTaskQueueRequest)
        name = request.task_queue.normal_name or request.task_queue.name
        key = QueueKey(request.namespace, name, "workflow" if workflow else "activity")
        if engine.deployments.polled(key, version, engine.clock.now()) is not None:
            engine.routing.changed(request.namespace)
    accepts = engine.routing.acceptance(request.identity, version)
    return PollRequest(request.identity, request.worker_instance_key, accepts, options)


def scale(decision: PollerScalingDecision, offer: Offer) -> None:
    """Passes on what the worker is advised about its number of polls."""
    if offer.scaling:
        decision.poll_request_delta_suggestion = offer.scaling


@dataclass(frozen=True, slots=True)
class Token:
    """A task token; opaque to workers. Any change of the task in the meantime makes it stale."""

    namespace: str
    workflow_id: str
    run_id: str
    id: int  # the scheduled event's id; 0 in a query token
    started: str  # a workflow task's request id, an attempt's start time, a query's id
    attempt: int = 1
    division: str = ""

    def encode(self) -> bytes:
        fields = (self.namespace, self.workflow_id, self.run_id, self.id, self.started, self.attempt)
        if self.division:
            fields = (*fields, self.division)  # type: ignore[assignment]
        return json.dumps(fields).encode()

    @staticmethod
    def decode(token: bytes) -> Token:
        """Raises INVALID_ARGUMENT for anything that is not one of our tokens."""
        if not token:
            raise invalid("Task token not set on request.")
        try:
            return Token(*json.loads(token))
        except (ValueError, TypeError):
            raise invalid("Error deserializing task token.") from None


async def token_run(engine: Engine, token: Token) -> Run:
    """The open run of a token. Raises NOT_FOUND."""
    run = await find_token_run(engine, token)
    if not run.ex.open:
        raise not_found(COMPLETED)
    return run


async def find_token_run(engine: Engine, token: Token) -> Run:
    """The run of a token, open or not. Raises NOT_FOUND."""
    if token.division:
        return await find_standalone(engine, token.namespace, token.workflow_id, token.run_id)
    run = await engine.runs.get(token.namespace, token.workflow_id, token.run_id)
    if run is None:
        raise not_found(_no_run(token.workflow_id, token.run_id))
    return run


async def find_standalone(engine: Engine, namespace: str, activity_id: str, run_id: str) -> Run:
    """The run of a standalone activity: by run id, or the newest of its id. Raises NOT_FOUND."""
    if run_id:
        run = await engine.runs.get(namespace, activity_id, run_id, DIVISION)
    else:
        run = await engine.runs.latest(namespace, activity_id, DIVISION)
    if run is None:
        raise no_activity(activity_id)
    return run


def no_activity(activity_id: str) -> ServiceError:
    return not_found(f"activity not found for ID: {activity_id}")
