"""Standalone activities: an activity without a workflow, as a run of its own. TEMPORAL.md, section 21.

The run's history holds the activity's scheduled event, and when it ends its started and its closing event. So attempts, heartbeats,
timers, recovery, lists and SQL views serve it as they serve the activities of workflows (`activities`); what is different is
asked of `Activity.standalone`. Here are its start, cancellation, termination, and what comes of it.
"""

from __future__ import annotations

import json

from temporalio.api.activity.v1 import ActivityExecutionOutcome, ActivityOptions
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    ActivityTaskCancelRequestedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    WorkflowExecutionTerminatedEventAttributes,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartActivityExecutionRequest

from perdure.engine import activities, activity_options
from perdure.engine.activity_operators import draft, record
from perdure.engine.attempts import standalone_started
from perdure.engine.closing import close_run
from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.limits import Limits
from perdure.engine.protos import from_duration
from perdure.engine.records import ExecutionStarted
from perdure.engine.retries import check_policy, fill_policy
from perdure.engine.state import Activity, Execution
from perdure.engine.turn import Turn

DIVISION = "activity"
ALIASES = {"ActivityId": "WorkflowId", "ActivityType": "WorkflowType"}  # for its lists
_SUMMARY_BYTES = 400
_DETAILS_BYTES = 20_000
_STATUS_WORDS = {2: "Completed", 3: "Failed", 4: "Canceled", 5: "Terminated", 7: "TimedOut"}


# --- start


def check_start(request: StartActivityExecutionRequest, limits: Limits) -> None:
    """Raises INVALID_ARGUMENT for a start that the server would refuse."""
    activity_options.check_duration("StartDelay", request.start_delay)
    if not request.HasField("task_queue"):
        raise invalid("taskQueue is not set")
    activity_options.check_queue(request.task_queue)
    for name, value in (("activityId", request.activity_id), ("activityType", request.activity_type.name)):
        if not value:
            raise invalid(f"{name} is not set")
    check_policy(request.retry_policy)
    for name, value in (("activityId", request.activity_id), ("activityType", request.activity_type.name)):
        activity_options.check_name_length(name, value, limits)
    activity_options.check_start_priority(request.priority)
    activity_options.check_timeouts(request, request.activity_id, request.activity_type.name)
    activity_options.check_name_length("request ID", request.request_id, limits)
    activity_options.check_name_length("identity", request.identity, limits)
    if request.input.ByteSize() > limits.blob_error:
        raise invalid("input exceeds length limit")
    for part, limit in (("summary", _SUMMARY_BYTES), ("details", _DETAILS_BYTES)):
        size = getattr(request.user_metadata, part).ByteSize()
        if size > limit:
            raise invalid(f"user_metadata.{part} exceeds size limit. Length={size} Limit={limit}")
    _check_conflict_options(request)


def _check_conflict_options(request: StartActivityExecutionRequest) -> None:
    options = request.on_conflict_options
    if options.attach_completion_callbacks and not options.attach_request_id:
        raise invalid("on_conflict_options: attach_completion_callbacks requires attach_request_id to be set")
    if options.attach_request_id and not request.completion_callbacks and not request.links:
        raise invalid(
            "on_conflict_options: attach_request_id requires at least one completion callback or link"
        )


def begin(request: StartActivityExecutionRequest, run_id: str, now: int, limits: Limits) -> Turn:
    """The run of a checked request, with its activity scheduled; one with a start delay is offered when that is over."""
    delay = from_duration(request.start_delay)
    ex = Execution(
        request.namespace,
        request.activity_id,
        run_id,
        standalone_started(request.activity_type.name, request.task_queue.name, delay),
        now,
        division=DIVISION,
        start_request_id=request.request_id,
    )
    ex.search_attributes.CopyFrom(request.search_attributes)
    turn = Turn(ex, now, limits)
    turn.records.append(
        ExecutionStarted(
            namespace=ex.namespace,
            workflow_id=ex.workflow_id,
            run_id=run_id,
            first_run_id=run_id,
            workflow_type=request.activity_type.name,
            task_queue=request.task_queue.name,
            start_time=now,
            execution_time=now + delay,
            request_id=request.request_id,
            search_attributes=request.search_attributes if request.HasField("search_attributes") else None,
            root_workflow_id=ex.workflow_id,
            root_run_id=run_id,
            division=DIVISION,
        )
    )
    event = turn.event(_scheduled(request))
    if request.HasField("user_metadata"):
        event.user_metadata.CopyFrom(request.user_metadata)
    event.links.extend(request.links)
    turn.append(event)
    activities.offer_when_due(turn, ex.activities[event.event_id])
    return turn


def _scheduled(request: StartActivityExecutionRequest) -> ActivityTaskScheduledEventAttributes:
    options = ActivityOptions(**{name: getattr(request, name) for name in activity_options.TIMEOUTS})
    activity_options.normalise(options, 0)
    attributes = ActivityTaskScheduledEventAttributes(
        activity_id=request.activity_id,
        activity_type=request.activity_type,
        task_queue=TaskQueue(name=request.task_queue.name, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
        retry_policy=fill_policy(request.retry_policy),
        **{name: getattr(options, name) for name in activity_options.TIMEOUTS},
    )
    for name in ("header", "input", "priority"):
        if request.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(request, name))
    return attributes


# --- its end, from outside


def the_activity(ex: Execution) -> Activity:
    assert ex.activity is not None
    return ex.activity


def request_cancel(turn: Turn, identity: str, reason: str, request_id: str) -> None:
    """Tells the running attempt; without one the activity is canceled at once, and the reason is what its details say."""
    ex = turn.ex
    activity = the_activity(ex)
    if request_id and activity.request_ids.get("cancel") == request_id:
        return
    if not ex.open:
        raise failed_precondition(f"activity is in terminal state {state_word(ex)}")
    if activity.cancel_requested_id:
        known = activity.request_ids.get("cancel", "")
        raise failed_precondition(f"cancellation already requested with request ID {known}")
    turn.add(ActivityTaskCancelRequestedEventAttributes(scheduled_event_id=activity.scheduled_id))
    changed = draft(activity)
    changed.paused = None
    changed.reset = changed.clear_heartbeat = changed.restore_options = False
    record(turn, activity, changed, "cancel", identity, reason, request_id, offer=False)
    activities.show_status(turn)
    if not activity.started:
        details = Payloads(
            payloads=[Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(reason).encode())]
        )
        activities.cancel_activity(turn, activity, details, identity)


def terminate(turn: Turn, identity: str, reason: str, request_id: str) -> None:
    ex = turn.ex
    activity = the_activity(ex)
    if not ex.open:
        if state_word(ex) != "Terminated":
            raise failed_precondition(f"invalid transition from {state_word(ex)}")
        known = activity.request_ids.get("terminate", "")
        if not request_id or known != request_id:
            raise failed_precondition(f"already terminated with request ID {known}")
        return
    record(turn, activity, draft(activity), "terminate", identity, reason, request_id, offer=False)
    close_run(turn, WorkflowExecutionTerminatedEventAttributes(reason=reason, identity=identity))


def failed_precondition(message: str) -> ServiceError:
    return ServiceError(Code.FAILED_PRECONDITION, message)


# --- what it is


def state_word(ex: Execution) -> str:
    """The activity's state in the words of Temporal's errors."""
    if not ex.open:
        return _STATUS_WORDS[ex.status]
    activity = the_activity(ex)
    if activity.cancel_requested_id:
        return "CancelRequested"
    if activity.started:
        if activity.reset:
            return "ResetRequested"
        return "Started" if activity.paused is None else "PauseRequested"
    return "Scheduled" if activity.paused is None else "Paused"


def outcome(ex: Execution) -> ActivityExecutionOutcome | None:
    """What came of the activity; None while it is open."""
    if ex.open:
        return None
    event = ex.events[-1]
    match event.WhichOneof("attributes"):
        case "activity_task_completed_event_attributes":
            return ActivityExecutionOutcome(result=event.activity_task_completed_event_attributes.result)
        case "activity_task_failed_event_attributes":
            failed = event.activity_task_failed_event_attributes
            return ActivityExecutionOutcome(failure=failed.failure, retry_state=failed.retry_state)
        case "activity_task_timed_out_event_attributes":
            timed_out = event.activity_task_timed_out_event_attributes
            return ActivityExecutionOutcome(failure=timed_out.failure, retry_state=timed_out.retry_state)
    return ActivityExecutionOutcome(failure=_ended_from_outside(ex, event))


def _ended_from_outside(ex: Execution, event: HistoryEvent) -> Failure:
    if event.HasField("workflow_execution_terminated_event_attributes"):
        terminated = event.workflow_execution_terminated_event_attributes
        failure = Failure(message=terminated.reason)
        failure.terminated_failure_info.identity = terminated.identity
        return failure
    canceled = event.activity_task_canceled_event_attributes
    failure = Failure(message="Activity canceled")
    failure.canceled_failure_info.identity = the_activity(ex).cancel_identity
    if canceled.HasField("details"):
        failure.canceled_failure_info.details.CopyFrom(canceled.details)
    return failure
