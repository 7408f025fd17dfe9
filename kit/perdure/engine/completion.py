"""A worker's answer to a workflow task -> everything that follows from it. TEMPORAL.md, sections 6, 7.5, 7.6 and 13.3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import WorkflowTaskCompletedEventAttributes
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine import activities, updates
from perdure.engine.closing import terminate_run
from perdure.engine.command_events import Completion, carry_out
from perdure.engine.command_shadow import BadCommand
from perdure.engine.commands import CLOSING, check, check_sequence, unhandled_events
from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.failures import server
from perdure.engine.protos import from_duration
from perdure.engine.state import Execution
from perdure.engine.turn import Turn
from perdure.engine.worker_versions import version_of_worker
from perdure.engine.workflow_tasks import complete_task, fail_task, flush_buffer, schedule_task, time_out_task


@dataclass(slots=True)
class Outcome:
    """What the RPC answers besides the new state.

    `error`: the completion was refused, and the task failed. `reset_to`: a speculative task that left no trace; the worker
    rolls back to this event. `eager`: activities to start at once for this worker.
    """

    error: ServiceError | None = None
    reset_to: int = 0
    eager: list[int] = field(default_factory=list)


def complete(
    turn: Turn, request: RespondWorkflowTaskCompletedRequest, new_run_id: Callable[[], str]
) -> Outcome:
    """Applies a completion to the run's started task (the caller has matched the token)."""
    ex = turn.ex
    task = ex.task
    assert task is not None
    check_sequence(request.commands)
    if ex.paused is not None and request.force_create_new_workflow_task:
        raise ServiceError(
            Code.FAILED_PRECONDITION,
            "Workflow is paused and force create new workflow task is not allowed.",
        )
    if bad := check(turn, request.commands, request.messages):
        if bad.ends_run:
            return _end_run(turn, bad)
        return _refuse(turn, bad.cause, bad.message)
    closing = bool(request.commands) and request.commands[-1].command_type in CLOSING
    if closing and unhandled_events(ex, request.commands):
        return _refuse(
            turn, WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND, "UnhandledCommand"
        )
    if _leaves_no_trace(turn, request):
        return _discard(turn, request)
    return _carry_out_all(turn, request, new_run_id)


def _end_run(turn: Turn, bad: BadCommand) -> Outcome:
    """A command beyond a limit: no later attempt could do better, so that the run ends here."""
    task = turn.ex.task
    assert task is not None
    name = WorkflowTaskFailedCause.Name(bad.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
    reason = f"{''.join(part.capitalize() for part in name.split('_'))}: {bad.message}"
    updates.fail_sent(turn.ex)
    fail_task(turn, bad.cause, server(reason), task.identity, reschedule=False)
    terminate_run(turn, reason, None, "history-service")
    return Outcome(error=invalid(reason))


def _refuse(turn: Turn, cause: WorkflowTaskFailedCause.ValueType, message: str) -> Outcome:
    """A later attempt that is refused again waits for its timeout, lest worker and engine chase each other."""
    task = turn.ex.task
    assert task is not None
    unhandled = cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    words = WorkflowTaskFailedCause.Name(cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").split("_")
    text = message if unhandled else f"{''.join(word.capitalize() for word in words)}: {message}"
    updates.fail_sent(turn.ex)
    turn.ex.close_attempted = unhandled
    if task.attempt == 1 or unhandled:
        fail_task(turn, cause, server(text), task.identity)
    return Outcome(error=invalid(text))


def _leaves_no_trace(turn: Turn, request: RespondWorkflowTaskCompletedRequest) -> bool:
    ex, task = turn.ex, turn.ex.task
    assert task is not None
    most = _MOST_AGAIN if request.capabilities.discard_speculative_workflow_task_with_events else 0
    return (
        task.speculative
        and ex.next_event_id <= ex.previous_started_id + 2 + most
        and not request.commands
        and not request.force_create_new_workflow_task
        and not turn.ex.buffer
        and updates.only_rejections(request.messages)
    )


_MOST_AGAIN = 10  # events that a worker gets twice when a task that carried them leaves no trace


def _discard(turn: Turn, request: RespondWorkflowTaskCompletedRequest) -> Outcome:
    ex = turn.ex
    task = ex.task
    assert task is not None
    for message in request.messages:
        updates.answer(turn, message)
    updates.reject_unanswered(ex, task.stamp)
    ex.task = None
    _stick(ex, request)
    if updates.has_admitted(ex):
        schedule_task(turn, speculative=True)
    return Outcome(reset_to=ex.previous_started_id)


def _carry_out_all(
    turn: Turn, request: RespondWorkflowTaskCompletedRequest, new_run_id: Callable[[], str]
) -> Outcome:
    ex = turn.ex
    task = ex.task
    assert task is not None
    stamp, original_time = task.stamp, task.original_scheduled_time
    heartbeat = request.force_create_new_workflow_task and not request.commands and not request.messages
    if heartbeat and turn.now - original_time > turn.limits.task_heartbeat_total:
        time_out_task(turn)
        return Outcome(error=not_found("workflow task heartbeat timeout"))
    shown, tied = ex.versioning.attributes(), _tie(ex)
    completed_id = complete_task(turn, _completed(request))
    _stick(ex, request)
    completion = Completion(
        turn, completed_id, {m.id: m for m in request.messages}, new_run_id, request.identity
    )
    if ex.versioning.attributes() != shown:
        turn.changed()
    if _tie(ex) != tied:
        activities.offer_waiting(turn)
    turn.commanding = True
    commanded = set()
    for command in request.commands:
        carry_out(completion, command)
        commanded.add(command.protocol_message_command_attributes.message_id)
    for message in request.messages:
        if message.id not in commanded and (ex.open or updates.only_rejections([message])):
            updates.answer(turn, message)
    turn.commanding = False
    if not ex.open:
        return Outcome()
    if request.force_create_new_workflow_task:
        updates.resend(ex, stamp)
    else:
        updates.reject_unanswered(ex, stamp)
    moving = ex.versioning.transition is not None
    if flush_buffer(turn) or request.force_create_new_workflow_task or moving:
        schedule_task(turn, original_time=original_time if heartbeat else 0)
    elif updates.has_admitted(ex):
        schedule_task(turn, speculative=True)
    return Outcome(eager=_eager(turn, completion))


def _tie(ex: Execution) -> tuple[object, ...]:
    """What decides which workers get the run's activities."""
    versioning = ex.versioning
    return versioning.effective_version, versioning.effective_behavior, versioning.transition is None


def _eager(turn: Turn, completion: Completion) -> list[int]:
    """Eager activities that this completion did not end again; ids of their scheduled events."""
    return [scheduled_id for scheduled_id in completion.eager if scheduled_id in turn.ex.activities]


def offer_rest(turn: Turn, scheduled_ids: list[int]) -> None:
    """Eager requests that cannot be met go the ordinary way."""
    for scheduled_id in scheduled_ids:
        activities.offer(turn, turn.ex.activities[scheduled_id])


def _completed(request: RespondWorkflowTaskCompletedRequest) -> WorkflowTaskCompletedEventAttributes:
    """What is stored of the worker; sdk_metadata verbatim, since replay depends on its flags."""
    attributes = WorkflowTaskCompletedEventAttributes(
        identity=request.identity, binary_checksum=request.binary_checksum
    )
    for name in ("sdk_metadata", "metering_metadata"):
        if request.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(request, name))
    if request.worker_version_stamp.build_id:
        attributes.worker_version.CopyFrom(request.worker_version_stamp)
    if version := version_of_worker(request.deployment_options):
        attributes.versioning_behavior = request.versioning_behavior
        attributes.worker_deployment_name = version.deployment_name
        attributes.deployment_version.CopyFrom(version.message())
    return attributes


def _stick(ex: Execution, request: RespondWorkflowTaskCompletedRequest) -> None:
    ex.sticky_queue = request.sticky_attributes.worker_task_queue.name
    ex.sticky_timeout = from_duration(request.sticky_attributes.schedule_to_start_timeout)
