"""Starting workflows: which run a request means, and whether it begins one. TEMPORAL.md, section 12.

`decide_start` is shared with `signal_with_start` and `update_with_start`, which put something more into the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import (
    WorkflowExecutionAlreadyStartedFailure,
)
from temporalio.api.history.v1 import (
    WorkflowExecutionOptionsUpdatedEventAttributes,
)
from temporalio.api.workflowservice.v1 import (
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
)

from perdure.engine import search_attributes, starting
from perdure.engine.closing import replace_run
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.fold import pinned_version
from perdure.engine.overrides import current_form, override_version
from perdure.engine.protos import from_duration
from perdure.engine.rpc import links, workflow_worker
from perdure.engine.rpc.common import Handlers
from perdure.engine.runs import FAILED, Run
from perdure.engine.state import Execution
from perdure.engine.task_queues import QueueKey
from perdure.engine.turn import Turn
from perdure.engine.worker_versions import Version, version_of_worker
from perdure.engine.workflow_tasks import note

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_Conflict = WorkflowIdConflictPolicy
_Reuse = WorkflowIdReusePolicy


@dataclass(frozen=True, slots=True)
class Start:
    """How a start came out. `turns` are decided but not committed yet: the newest is the run's own."""

    run_id: str
    first_run_id: str
    started: bool
    run: Run | None  # the run that was there already
    turns: tuple[Turn, ...] = ()


async def decide_start(engine: Engine, request: StartWorkflowExecutionRequest) -> Start:
    """Applies request id, conflict policy and reuse policy, in this order; does not commit."""
    starting.check_start(request, engine.limits)
    types = engine.search_attributes.of(request.namespace)
    search_attributes.check(request.search_attributes, types, engine.limits, request.namespace)
    conflict, reuse = policies_of(request)
    current = await engine.runs.latest(request.namespace, request.workflow_id)
    if current is None:
        return _begin(engine, request, ())
    ex = current.ex
    if request.request_id and request.request_id in (ex.start_request_id, *ex.attached_request_ids):
        return Start(ex.run_id, ex.first_run_id, request.request_id == ex.start_request_id, current)
    if ex.open:
        if conflict == _Conflict.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING:
            return Start(ex.run_id, ex.first_run_id, False, current, _attach(engine, current, request))
        if conflict == _Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING:
            end = engine.turn(current)
            begun = _begin(engine, request, ())
            replace_run(end, begun.run_id)
            return replace(begun, turns=(end, *begun.turns))
        raise _already_started(current, "Workflow execution is already running.")
    if reuse == _Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE:
        raise _already_started(
            current,
            "Workflow execution already finished.",
            " Workflow Id reuse policy: reject duplicate workflow Id.",
        )
    if reuse == _Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY and ex.status not in FAILED:
        raise _already_started(
            current,
            "Workflow execution already finished successfully.",
            " Workflow Id reuse policy: allow duplicate workflow Id if last run failed.",
        )
    return _begin(engine, request, ())


def policies_of(request: StartWorkflowExecutionRequest) -> tuple[int, int]:
    conflict, reuse = request.workflow_id_conflict_policy, request.workflow_id_reuse_policy
    if reuse == _Reuse.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
        if conflict:
            raise invalid(
                "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used "
                "together with a WorkflowIDConflictPolicy"
            )
        return (
            _Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
            _Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
        )
    if (
        conflict == _Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
        and reuse == _Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    ):
        raise invalid(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together "
            "with WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING"
        )
    return conflict or _Conflict.WORKFLOW_ID_CONFLICT_POLICY_FAIL, reuse


def _already_started(run: Run, message: str, policy: str = "") -> ServiceError:
    ex = run.ex
    return ServiceError(
        Code.ALREADY_EXISTS,
        f"{message} WorkflowId: {ex.workflow_id}, RunId: {ex.run_id}.{policy}",
        WorkflowExecutionAlreadyStartedFailure(
            start_request_id=ex.start_request_id, run_id=ex.run_id, first_execution_run_id=ex.first_run_id
        ),
    )


def _attach(engine: Engine, run: Run, request: StartWorkflowExecutionRequest) -> tuple[Turn, ...]:
    asked = request.on_conflict_options
    links = request.links if asked.attach_links else ()
    if not asked.attach_request_id and not links:
        return ()
    turn = engine.turn(run)
    attached = WorkflowExecutionOptionsUpdatedEventAttributes(
        attached_request_id=request.request_id if asked.attach_request_id else ""
    )
    note(turn, turn.event(attached, links=links))
    return (turn,)


def _begin(engine: Engine, request: StartWorkflowExecutionRequest, before: tuple[Turn, ...]) -> Start:
    if request.HasField("versioning_override"):
        engine.routing.check_override(
            request.namespace,
            request.task_queue.name,
            request.workflow_type.name,
            request.versioning_override,
        )
    run_id = engine.new_id()
    now = engine.clock.now()
    attributes = starting.from_request(request, run_id, now, engine.limits)
    attributes.ClearField("search_attributes")
    given = search_attributes.without_removed(request.search_attributes)
    if given.indexed_fields:
        types = engine.search_attributes.of(request.namespace)
        attributes.search_attributes.CopyFrom(search_attributes.typed(given, types))
    attributes.eager_execution_accepted = _may_start_eagerly(engine, request)
    turn = starting.begin(
        request.namespace,
        run_id,
        attributes,
        now,
        engine.limits,
        current_version=engine.definitions.current_version("workflow", request.workflow_type.name),
        request_id=request.request_id,
        user_metadata=request.user_metadata if request.HasField("user_metadata") else None,
        links=request.links,
    )
    return Start(run_id, run_id, True, None, (*before, turn))


def _may_start_eagerly(engine: Engine, request: StartWorkflowExecutionRequest) -> bool:
    """Whether the first workflow task may come with the answer: the caller is a worker that can run it now."""
    waits = request.cron_schedule or from_duration(request.workflow_start_delay)
    if not request.request_eager_execution or waits:
        return False
    workflow_type = request.workflow_type.name
    version = pinned_version(request.versioning_override, workflow_type)
    if not version and not request.HasField("versioning_override"):
        version = engine.definitions.current_version("workflow", workflow_type)
    if not version and _eager_worker(request) != _wanted(engine, request):
        return False
    return engine.processes.accepts_workflow(request.identity, workflow_type, version)


def _eager_worker(request: StartWorkflowExecutionRequest) -> Version | None:
    return version_of_worker(request.eager_worker_deployment_options)


def _wanted(engine: Engine, request: StartWorkflowExecutionRequest) -> Version | None:
    """The version of a worker deployment that a new run's first workflow task is meant for."""
    override = request.versioning_override
    pinned = override_version(current_form(override)) if request.HasField("versioning_override") else None
    if pinned is not None:
        return pinned
    key = QueueKey(request.namespace, request.task_queue.name, "workflow")
    return engine.deployments.routing(key).target(request.workflow_id).version


def commit_start(engine: Engine, start: Start) -> int:
    if start.run is None:
        engine.runs.add(start.turns[-1].ex)
    return engine.commit(*start.turns) if start.turns else start.run.ticket if start.run else 0


async def start_workflow_execution(
    engine: Engine, request: StartWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> StartWorkflowExecutionResponse:
    start = await decide_start(engine, request)
    eager = None
    if start.run is not None:
        ex = start.run.ex
        commit_start(engine, start)
        await engine.journal.durable(start.run.ticket)
    else:
        ex = start.turns[-1].ex
        starting.first_task(start.turns[-1])
        if ex.started.eager_execution_accepted:
            run = engine.runs.add(ex)
            eager = workflow_worker.take(
                engine,
                run,
                start.turns[-1],
                request.identity,
                False,
                _eager_worker(request),
                request.request_id,
            )
        await engine.journal.durable(commit_start(engine, start))
    return StartWorkflowExecutionResponse(
        run_id=start.run_id,
        first_execution_run_id=start.first_run_id,
        started=start.started,
        status=ex.status,  # type: ignore[arg-type]
        eager_workflow_task=eager,
        link=link_to_start(ex, request),
    )


def link_to_start(ex: Execution, request: StartWorkflowExecutionRequest) -> Link:
    """To the event that the start led to: the Started event, or the one that attached its request id to an open run."""
    if request.request_id in ex.attached_request_ids:
        return links.to_request(
            ex, request.request_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
        )
    return links.to_event(ex, 1, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)


HANDLERS: Handlers = {
    "StartWorkflowExecution": start_workflow_execution,
}
