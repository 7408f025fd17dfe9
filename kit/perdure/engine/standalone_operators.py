"""What operators do to a standalone activity: pause, unpause, reset, change options. TEMPORAL.md, sections 18 and 21.

The rules differ from those for activities of workflows: a request is refused in states in which it has no meaning, a repeated request
id has no effect, the back-off before a retry is kept by pausing and unpausing, and a reset that meets a running attempt is carried
out when that attempt ends.
"""

from __future__ import annotations

from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.workflowservice.v1 import (
    ResetActivityExecutionRequest,
    UpdateActivityExecutionOptionsRequest,
)

from perdure.engine import activity_options, attempts
from perdure.engine.activities import show_status
from perdure.engine.activity_operators import draft, record
from perdure.engine.errors import ServiceError, invalid
from perdure.engine.priorities import check_priority
from perdure.engine.protos import duration, from_duration
from perdure.engine.retries import backoff, check_policy, fill_policy
from perdure.engine.standalone import failed_precondition, state_word, the_activity
from perdure.engine.state import Activity, Pause
from perdure.engine.turn import Turn

_NO_OPTIONS_IN = (
    "CancelRequested",
    "ResetRequested",
    "Completed",
    "Failed",
    "Canceled",
    "Terminated",
    "TimedOut",
)


def pause(turn: Turn, identity: str, reason: str, request_id: str) -> None:
    activity = the_activity(turn.ex)
    if _repeated(activity, "pause", request_id):
        return
    if (state := state_word(turn.ex)) not in ("Scheduled", "Started"):
        raise failed_precondition(f"activity is in non-pausable state {state}")
    changed = draft(activity)
    changed.paused = Pause(turn.now, identity, reason)
    record(turn, activity, changed, "pause", identity, reason, request_id)
    show_status(turn)


def unpause(turn: Turn, identity: str, reason: str, request_id: str, offset: int) -> None:
    """The next attempt is due now, but not before its back-off or the start delay is over."""
    activity = the_activity(turn.ex)
    if _repeated(activity, "unpause", request_id):
        return
    state = state_word(turn.ex)
    if not turn.ex.open:
        raise failed_precondition(f"activity is in terminal state {state}")
    if state not in ("Paused", "PauseRequested"):
        raise failed_precondition(f"activity is in non-unpausable state {state}")
    changed = draft(activity)
    changed.paused = None
    if not activity.started:
        changed.due_time = max(_not_before(activity, turn.now + offset), changed.due_time)
    record(turn, activity, changed, "unpause", identity, reason, request_id)
    show_status(turn)


def reset(turn: Turn, request: ResetActivityExecutionRequest, offset: int) -> None:
    activity = the_activity(turn.ex)
    if _repeated(activity, "reset", request.request_id):
        return
    state = state_word(turn.ex)
    if not turn.ex.open:
        raise failed_precondition("activity execution is not running")
    if state == "CancelRequested":
        raise failed_precondition("cannot reset an activity with a pending cancellation")
    if state == "ResetRequested":
        raise failed_precondition("cannot reset an activity with a pending reset")
    changed = draft(activity)
    if not request.keep_paused:
        changed.paused = None
    if activity.started:
        changed.reset = True
        changed.clear_heartbeat = request.reset_heartbeat
        changed.restore_options = request.restore_original_options
    else:
        if request.restore_original_options:
            attempts.restore_options(changed)
        if request.reset_heartbeat:
            changed.heartbeat_details, changed.heartbeat_time = None, 0
        changed.attempt = 1
        changed.due_time = _not_before(changed, turn.now + offset)
    record(turn, activity, changed, "reset", request.identity, "", request.request_id)
    show_status(turn)


def update_options(turn: Turn, request: UpdateActivityExecutionOptionsRequest) -> ActivityOptions:
    """Puts changed options, or the original ones, in force. Returns those that count now."""
    activity = the_activity(turn.ex)
    if _repeated(activity, "update_options", request.request_id):
        return options_of(activity)
    if (state := state_word(turn.ex)) in _NO_OPTIONS_IN:
        raise failed_precondition(f"Cannot update options for activity in state {state}")
    paths = {activity_options.snake(path) for path in request.update_mask.paths}
    changed = draft(activity)
    if request.restore_original:
        attempts.restore_options(changed)
    else:
        if "start_delay" in paths:
            _check_start_delay(turn, activity, request.activity_options)
        options = options_of(activity)
        activity_options.merge(options, request.activity_options, paths)
        if "retry_policy" in paths:
            options.retry_policy.CopyFrom(fill_policy(options.retry_policy))
        activity_options.check_timeouts(options, activity.id, activity.type)
        activity_options.normalise(options, 0)
        changed.attributes = attempts.with_options(activity.attributes, options)
        changed.start_delay = from_duration(options.start_delay)
    of_policy = request.restore_original or any(path.startswith("retry_policy") for path in paths)
    if not activity.started:
        changed.due_time = _due(turn, activity, changed, of_policy)
    record(turn, activity, changed, "update_options", request.identity, "", request.request_id)
    return options_of(activity)


def options_of(activity: Activity) -> ActivityOptions:
    options = activity_options.of(activity.attributes)
    options.retry_policy.CopyFrom(activity.policy)
    if activity.start_delay or activity.original_start_delay:
        options.start_delay.CopyFrom(duration(activity.start_delay))
    return options


def check_update(request: UpdateActivityExecutionOptionsRequest) -> None:
    """Raises INVALID_ARGUMENT for a request that can never be carried out."""
    paths = [activity_options.snake(path) for path in request.update_mask.paths]
    if paths and request.restore_original:
        raise invalid("Both UpdateMask and RestoreOriginal are provided")
    if request.restore_original:
        return
    if not request.HasField("activity_options"):
        raise invalid("ActivityOptions are not provided")
    if not request.HasField("update_mask"):
        raise invalid("UpdateMask is not provided")
    if not paths:
        raise invalid("UpdateMask must specify at least one path")
    for path, given in zip(paths, request.update_mask.paths, strict=True):
        if path not in activity_options.PATHS:
            raise invalid(f'unsupported update_mask path: "{given}"')
    options = request.activity_options
    if "task_queue.name" in paths:
        if not options.HasField("task_queue"):
            raise invalid("taskQueue is not set")
        activity_options.check_queue(options.task_queue)
    for name, title in activity_options.TIMEOUTS.items():
        if name in paths:
            activity_options.check_duration(title, getattr(options, name))
    if any(path.startswith("priority") for path in paths):
        check_priority(options.priority)
    if "retry_policy" in paths:
        check_policy(options.retry_policy)
    elif any(path.startswith("retry_policy.") for path in paths):
        _check_policy_parts(options, paths)


def _check_policy_parts(options: ActivityOptions, paths: list[str]) -> None:
    policy = options.retry_policy
    for part, title in (("initial_interval", "InitialInterval"), ("maximum_interval", "MaximumInterval")):
        if f"retry_policy.{part}" in paths:
            try:
                activity_options.check_duration(title, getattr(policy, part))
            except ServiceError as error:
                raise invalid(error.message.replace(title, f"{title} set on retry policy")) from None
    if "retry_policy.backoff_coefficient" in paths and policy.backoff_coefficient < 1:
        raise invalid("BackoffCoefficient cannot be less than 1 on retry policy.")
    if "retry_policy.maximum_attempts" in paths and policy.maximum_attempts < 0:
        raise invalid("MaximumAttempts cannot be negative on retry policy.")


def _check_start_delay(turn: Turn, activity: Activity, options: ActivityOptions) -> None:
    activity_options.check_duration("StartDelay", options.start_delay)
    waits = activity.scheduled_time + activity.start_delay > turn.now
    never_ran = not activity.first_started_time and activity.paused is not None
    if not waits and not never_ran:
        raise failed_precondition(
            "cannot update start_delay: the first activity attempt has already been dispatched"
        )


def _due(turn: Turn, activity: Activity, changed: Activity, of_policy: bool) -> int:
    """When the attempt that is waited for is due now. A pause that the worker chose itself stays."""
    if activity.attempt == 1:
        return _not_before(changed, turn.now)
    if not of_policy or _chosen_by_worker(activity):
        return activity.due_time
    return activity.last_ended_time + backoff(changed.policy, activity.attempt - 1)


def _chosen_by_worker(activity: Activity) -> bool:
    failure = activity.last_failure
    while failure is not None:
        if from_duration(failure.application_failure_info.next_retry_delay) > 0:
            return True
        failure = failure.cause if failure.HasField("cause") else None
    return False


def _not_before(activity: Activity, when: int) -> int:
    """`when`, but before the first attempt not until the start delay is over."""
    return when if activity.first_started_time else max(when, activity.scheduled_time + activity.start_delay)


def _repeated(activity: Activity, action: str, request_id: str) -> bool:
    return bool(request_id) and activity.request_ids.get(action) == request_id
