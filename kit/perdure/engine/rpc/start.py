"""Starting workflows: plainly, with a signal, with an update. TEMPORAL.md, sections 12 and 13.6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import (
    MultiOperationExecutionFailure,
    NamespaceNotFoundFailure,
    WorkflowExecutionAlreadyStartedFailure,
)
from temporalio.api.failure.v1 import MultiOperationExecutionAborted
from temporalio.api.history.v1 import (
    WorkflowExecutionOptionsUpdatedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
)
from temporalio.api.workflowservice.v1 import (
    ExecuteMultiOperationRequest,
    ExecuteMultiOperationResponse,
    SignalWithStartWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionResponse,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine import externals, search_attributes, starting
from perdure.engine.checks import check_blob, check_exact_length
from perdure.engine.closing import replace_run
from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.fold import pinned_version
from perdure.engine.matching import QueueKey
from perdure.engine.protos import from_duration
from perdure.engine.rpc import links, updating, workflow_worker
from perdure.engine.rpc.common import Handlers
from perdure.engine.runs import FAILED, Run
from perdure.engine.state import RUNNING, Execution, UpdateStage
from perdure.engine.turn import Turn
from perdure.engine.updates import ABORTED, admit
from perdure.engine.versions import Version, current_form, override_version, version_of_worker
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
    conflict, reuse = _policies(request)
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


def _policies(request: StartWorkflowExecutionRequest) -> tuple[int, int]:
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


def _commit(engine: Engine, start: Start) -> int:
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
        _commit(engine, start)
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
        await engine.journal.durable(_commit(engine, start))
    return StartWorkflowExecutionResponse(
        run_id=start.run_id,
        first_execution_run_id=start.first_run_id,
        started=start.started,
        status=ex.status,  # type: ignore[arg-type]
        eager_workflow_task=eager,
        link=_link(ex, request),
    )


def _link(ex: Execution, request: StartWorkflowExecutionRequest) -> Link:
    """To the event that the start led to: the Started event, or the one that attached its request id to an open run."""
    if request.request_id in ex.attached_request_ids:
        return links.to_request(
            ex, request.request_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
        )
    return links.to_event(ex, 1, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)


async def signal_with_start_workflow_execution(
    engine: Engine, request: SignalWithStartWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> SignalWithStartWorkflowExecutionResponse:
    """Signals the open run, or starts one with the signal right after its Started event: in one transaction."""
    _check_signal_with_start(engine, request)
    signal = WorkflowExecutionSignaledEventAttributes(
        signal_name=request.signal_name,
        input=request.signal_input if request.HasField("signal_input") else None,
        identity=request.identity,
        header=request.header if request.HasField("header") else None,
        request_id=request.request_id,
    )
    plain = StartWorkflowExecutionRequest()
    for field, value in request.ListFields():
        if field.name in plain.DESCRIPTOR.fields_by_name:
            target = getattr(plain, field.name)
            if isinstance(target, Message):
                target.CopyFrom(value)
            elif hasattr(target, "extend"):
                target.extend(value)
            else:
                setattr(plain, field.name, value)
    if not plain.workflow_id_conflict_policy and (
        plain.workflow_id_reuse_policy != _Reuse.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
    ):
        plain.workflow_id_conflict_policy = _Conflict.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    start = await decide_start(engine, plain)
    if start.run is not None and start.run.ex.open:
        externals.check_signals(start.run.ex, engine.limits)
        turn = engine.turn(start.run)
        if start.run.ex.status == RUNNING:
            start.run.ex.first_task_time = 0  # a start delay ends here
        externals.signal(turn, signal, request.links)
        engine.commit(*start.turns, turn)
        ex, ticket = start.run.ex, start.run.ticket  # of the first time, if the signal came a second time
    else:
        ex = start.turns[-1].ex if start.run is None else start.run.ex
        if start.run is None:
            turn = start.turns[-1]
            turn.append(turn.event(signal, links=request.links))
            starting.first_task(turn)
        ticket = _commit(engine, start)
    await engine.journal.durable(ticket)
    return SignalWithStartWorkflowExecutionResponse(
        run_id=start.run_id,
        first_execution_run_id=start.first_run_id,
        started=start.run is None,
        signal_link=links.to_request(
            ex, request.request_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        ),
    )


def _check_signal_with_start(engine: Engine, request: SignalWithStartWorkflowExecutionRequest) -> None:
    """What a start is not asked, or in other words."""
    if not request.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if not request.signal_name:
        raise invalid("signal not set")
    check_exact_length("signal name", request.signal_name, engine.limits)
    if not request.workflow_type.name:
        raise invalid("workflow type not set")
    if request.workflow_id_conflict_policy == _Conflict.WORKFLOW_ID_CONFLICT_POLICY_FAIL:
        raise invalid(
            "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation."
        )
    check_blob(request.signal_input, engine.limits)


async def execute_multi_operation(
    engine: Engine, request: ExecuteMultiOperationRequest, metadata: Mapping[str, str]
) -> ExecuteMultiOperationResponse:
    """Update-with-start: exactly a start and an update of the same workflow id."""
    operations = request.operations
    if len(operations) != 2 or not (
        operations[0].HasField("start_workflow") and operations[1].HasField("update_workflow")
    ):
        raise invalid("Operations have to be exactly [Start, Update].")
    start_request, update_request = operations[0].start_workflow, operations[1].update_workflow
    for index, check in enumerate((_check_first, _check_second)):
        try:
            check(engine, request)
        except ServiceError as error:
            raise _multi_error(index, error) from None
    return await _start_and_update(engine, start_request, update_request)


def _check_first(engine: Engine, request: ExecuteMultiOperationRequest) -> None:
    """The start of an update-with-start: nothing that would keep the update from being delivered at once."""
    start = request.operations[0].start_workflow
    _check_same_namespace(request.namespace, start.namespace)
    starting.check_start(start, engine.limits)
    _policies(start)
    if start.cron_schedule:
        raise invalid("CronSchedule is not allowed.")
    if start.request_eager_execution:
        raise invalid("RequestEagerExecution is not supported.")
    if from_duration(start.workflow_start_delay):
        raise invalid("WorkflowStartDelay is not supported.")


def _check_second(engine: Engine, request: ExecuteMultiOperationRequest) -> None:
    """Its update, which means the run of the start."""
    start, update = request.operations[0].start_workflow, request.operations[1].update_workflow
    if update.namespace:
        _check_same_namespace(request.namespace, update.namespace)
    updating.check_update(engine, update)
    if update.workflow_execution.run_id:
        raise invalid("RunId is not allowed.")
    if update.first_execution_run_id:
        raise invalid("FirstExecutionRunId is not allowed.")
    if update.workflow_execution.workflow_id != start.workflow_id:
        raise invalid("WorkflowId is not consistent with previous operation(s).")


def _check_same_namespace(whole: str, part: str) -> None:
    if not part:
        raise not_found(f"Namespace {part} is not found.", NamespaceNotFoundFailure())
    if part != whole:
        raise invalid("Operation namespace did not match request's namespace.")


async def _start_and_update(
    engine: Engine,
    start_request: StartWorkflowExecutionRequest,
    update_request: UpdateWorkflowExecutionRequest,
    *,
    again: bool = False,
) -> ExecuteMultiOperationResponse:
    """Does both. An update that is lost because its run closes is sent once more: to the next run, which it may start."""
    update_id = update_request.request.meta.update_id
    current = await engine.runs.latest(start_request.namespace, start_request.workflow_id)
    known = current.ex.updates.get(update_id) if current is not None else None
    completed = known is not None and known.stage is UpdateStage.COMPLETED and not known.aborted
    same_start = current is not None and start_request.request_id == current.ex.start_request_id
    if current is not None and (completed or (current.ex.open and (known is not None or same_start))):
        start, attached = Start(current.ex.run_id, current.ex.first_run_id, False, current), True
    else:
        attached = False
        try:
            start = await decide_start(engine, start_request)
        except ServiceError as error:
            raise _multi_error(0, error) from None
    run = start.run
    try:
        if run is None:
            turn = start.turns[-1]
            update = admit(turn, update_request.request)
            starting.first_task(turn)
            run = engine.runs.add(turn.ex)
            engine.commit(*start.turns)
        else:
            update, _ = updating.admit_to(engine, run, update_request.request)
        response = await updating.wait(engine, run, update, update_request.wait_policy.lifecycle_stage)
    except ServiceError as error:
        if start.run is None:
            raise _multi_error(1, error, begun=True) from None
        if error.message == ABORTED:
            if not again:
                return await _start_and_update(engine, start_request, update_request, again=True)
            error = ServiceError(Code.ABORTED, error.message)
        raise _multi_error(1, error) from None
    await engine.journal.durable(run.ticket)
    answer = ExecuteMultiOperationResponse()
    begun = answer.responses.add().start_workflow
    begun.run_id, begun.started, begun.status = start.run_id, start.started, run.ex.status  # type: ignore[assignment]
    if start.started:
        begun.first_execution_run_id = start.first_run_id
    if not attached:
        begun.link.CopyFrom(_link(run.ex, start_request))
    if completed:  # it stands where the link of its own answer pointed
        response.ClearField("link")
    answer.responses.add().update_workflow.CopyFrom(response)
    return answer


def _multi_error(failed: int, error: ServiceError, *, begun: bool = False) -> ServiceError:
    """One status for each operation: the failed one's own; for the other ABORTED, or OK if it is a start that was made.

    TEMPORAL.md, section 13.6.
    """
    detail = MultiOperationExecutionFailure()
    for index in range(2):
        status = detail.statuses.add()
        packed = Any()
        if index == failed:
            status.code, status.message = int(error.code), error.message
            if error.detail is not None:
                packed.Pack(error.detail)
                status.details.append(packed)
        elif not begun:
            status.code, status.message = int(Code.ABORTED), "Operation was aborted."
            packed.Pack(MultiOperationExecutionAborted())
            status.details.append(packed)
    return ServiceError(error.code, "Update-with-Start could not be executed.", detail)


HANDLERS: Handlers = {
    "StartWorkflowExecution": start_workflow_execution,
    "SignalWithStartWorkflowExecution": signal_with_start_workflow_execution,
    "ExecuteMultiOperation": execute_multi_operation,
}
