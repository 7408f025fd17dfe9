"""Commands of a completed workflow task -> events. TEMPORAL.md, section 6.1.

First `check` goes through the whole list against a shadow of the state; only when every command is good does `carry_out`
write the first event. So a bad command never leaves half of a completion behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import RetryPolicy, SearchAttributes
from temporalio.api.enums.v1 import CommandType, EventType, WorkflowTaskFailedCause
from temporalio.api.protocol.v1 import Message

from perdure.engine import activity_options, command_sizes, cron, search_attributes, update_messages
from perdure.engine.errors import ServiceError
from perdure.engine.limits import Limits
from perdure.engine.priorities import check_priority
from perdure.engine.protos import from_duration
from perdure.engine.retries import check_policy
from perdure.engine.state import Execution

_NO_STATE_FOR = "invalid history builder state for action: "
_Cause = WorkflowTaskFailedCause

CLOSING = frozenset(
    (
        CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
        CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
        CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
    )
)


@dataclass(frozen=True, slots=True)
class BadCommand(Exception):
    """A command that fails the workflow task."""

    cause: WorkflowTaskFailedCause.ValueType
    message: str
    ends_run: bool = False  # it is beyond a limit: the run is terminated, as trying again cannot help


@dataclass(slots=True)
class _Shadow:
    """What the commands so far would have made of the state; only ids and counts."""

    ex: Execution
    limits: Limits
    attribute_types: Mapping[str, str]  # of the namespace's custom search attributes
    activities: set[str]
    scheduled: set[int]
    cancelled: set[int]
    timers: set[str]
    buffered_timers: set[str]
    children: int
    child_ids: set[str]
    messages: set[str]
    count: int = 0  # of all commands
    new_activities: int = 0
    signals: int = 0
    cancels: int = 0
    search_attributes: SearchAttributes = field(default_factory=SearchAttributes)
    removed: set[str] = field(default_factory=set)  # buffered TimerFired events that a CancelTimer takes back
    closing: bool = False


def check(
    ex: Execution,
    commands: Sequence[Command],
    messages: Sequence[Message],
    limits: Limits,
    attribute_types: Mapping[str, str],
) -> BadCommand | None:
    """The first command that must fail the workflow task; None when all are good."""
    shadow = _shadow(ex, messages, limits, attribute_types)
    shadow.count = len(commands)
    for command in commands:
        try:
            if command.command_type in CLOSING:
                _check_closing(shadow, command)
            elif test := _CHECKS.get(command.command_type):
                test(shadow, command)
            else:
                name = CommandType.Name(command.command_type)
                return BadCommand(
                    _Cause.WORKFLOW_TASK_FAILED_CAUSE_FEATURE_DISABLED,
                    f"{name} is not implemented by perdure",
                )
            if excess := command_sizes.excess(ex, command, limits):
                return BadCommand(*excess, ends_run=True)
        except BadCommand as bad:
            return bad
    for message in messages:
        if excess := command_sizes.excess_of_message(message, limits):
            return BadCommand(*excess, ends_run=True)
    if text := update_messages.fault(ex, _in_order(commands, messages)):
        return BadCommand(_Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE, text)
    return None


def _in_order(commands: Sequence[Command], messages: Sequence[Message]) -> list[Message]:
    """Messages as they count: where commands name them, then the others."""
    named = [c.protocol_message_command_attributes.message_id for c in commands]
    by_id = {message.id: message for message in messages}
    return [by_id[name] for name in named if name in by_id] + [m for m in messages if m.id not in named]


def _shadow(
    ex: Execution, messages: Sequence[Message], limits: Limits, attribute_types: Mapping[str, str]
) -> _Shadow:
    ended = {
        b.event.activity_task_completed_event_attributes.scheduled_event_id
        or b.event.activity_task_failed_event_attributes.scheduled_event_id
        or b.event.activity_task_timed_out_event_attributes.scheduled_event_id
        or b.event.activity_task_canceled_event_attributes.scheduled_event_id
        for b in ex.buffer
    }
    fired = {
        b.event.timer_fired_event_attributes.timer_id
        for b in ex.buffer
        if b.event.event_type == EventType.EVENT_TYPE_TIMER_FIRED
    }
    return _Shadow(
        ex=ex,
        limits=limits,
        attribute_types=attribute_types,
        activities=set(ex.activity_ids),
        scheduled=set(ex.activities) | (ended - {0}),
        cancelled={a.scheduled_id for a in ex.activities.values() if a.cancel_requested_id},
        timers=set(ex.timers),
        buffered_timers=fired,
        children=len(ex.children),
        child_ids=set(),
        messages={m.id for m in messages},
        search_attributes=ex.search_attributes,
    )


def unhandled_events(ex: Execution, commands: Sequence[Command]) -> bool:
    """Whether events wait in the buffer that a closing command would drop. A CancelTimer takes its fired timer back."""
    canceled = {
        c.cancel_timer_command_attributes.timer_id
        for c in commands
        if c.command_type == CommandType.COMMAND_TYPE_CANCEL_TIMER
    }
    return any(
        b.event.event_type != EventType.EVENT_TYPE_TIMER_FIRED
        or b.event.timer_fired_event_attributes.timer_id not in canceled
        for b in ex.buffer
    )


# --- one check for each command


def _require(condition: object, cause: WorkflowTaskFailedCause.ValueType, message: str) -> None:
    if not condition:
        raise BadCommand(cause, message)


def _check_length(
    shadow: _Shadow,
    cause: WorkflowTaskFailedCause.ValueType,
    name: str,
    value: str,
    where: str,
    rest: str = "",
) -> None:
    length, limit = len(value.encode()), shadow.limits.id_length
    _require(
        length <= limit,
        cause,
        f"{name} on {where} exceeds length limit. {name}={value} Length={length} Limit={limit}{rest}",
    )


def _check_pending(number: int, limit: int, what: str, cause: WorkflowTaskFailedCause.ValueType) -> None:
    """Whether there is room for one more of what a run waits for."""
    text = f"the number of pending {what}, {number}, has reached the per-workflow limit of {limit}"
    _require(number < limit, cause, text)


def _check_retry(policy: RetryPolicy, cause: WorkflowTaskFailedCause.ValueType) -> None:
    try:
        check_policy(policy)
    except ServiceError as error:
        raise BadCommand(cause, error.message) from None


def _check_closing(shadow: _Shadow, command: Command) -> None:
    if command.command_type == CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
        attributes = command.continue_as_new_workflow_execution_command_attributes
        cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CONTINUE_AS_NEW_ATTRIBUTES
        name = attributes.workflow_type.name
        _check_length(shadow, cause, "WorkflowType", name, "ContinueAsNewWorkflowExecutionCommand")
        _check_retry(attributes.retry_policy, cause)
        queue = f'name:"{attributes.task_queue.name}" kind:TASK_QUEUE_KIND_NORMAL'
        place = f". WorkflowType={attributes.workflow_type.name} TaskQueue={queue}"
        _check_written(shadow, attributes.search_attributes, "ContinueAsNewWorkflowExecutionCommand", place)
        _check_attributes_size(shadow, attributes.search_attributes)
    if command.command_type == CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:
        _require(
            command.fail_workflow_execution_command_attributes.HasField("failure"),
            _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES,
            "Failure is not set on FailWorkflowExecutionCommand.",
        )


def _check_schedule_activity(shadow: _Shadow, command: Command) -> None:
    attributes = command.schedule_activity_task_command_attributes
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
    given = command.HasField("schedule_activity_task_command_attributes")
    _require(given, cause, "ScheduleActivityTaskCommandAttributes is not set on ScheduleActivityTaskCommand.")
    try:
        activity_options.check_command(attributes, shadow.limits)
    except ServiceError as error:
        raise BadCommand(cause, error.message) from None
    activity_id = attributes.activity_id
    _require(
        activity_id not in shadow.activities,
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID,
        f"{_NO_STATE_FOR}add-activitytask-scheduled-event, ActivityID: {activity_id}",
    )
    _check_pending(
        len(shadow.ex.activities) + shadow.new_activities,
        shadow.limits.pending_activities,
        "activities",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED,
    )
    shadow.activities.add(activity_id)
    shadow.new_activities += 1


def _check_cancel_activity(shadow: _Shadow, command: Command) -> None:
    scheduled = command.request_cancel_activity_task_command_attributes.scheduled_event_id
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES
    _require(scheduled, cause, "ScheduledEventId is not set on RequestCancelActivityTaskCommand.")
    # an activity scheduled by this very completion has an id soon after the events there are
    new = range(len(shadow.ex.events) + 1, len(shadow.ex.events) + 5 + shadow.count)
    known = scheduled in shadow.scheduled or (scheduled in new and shadow.new_activities > 0)
    _require(
        known and scheduled not in shadow.cancelled,
        cause,
        f"{_NO_STATE_FOR}add-activitytask-cancel-requested-event, ScheduledEventID: {scheduled}",
    )
    shadow.cancelled.add(scheduled)


def _check_start_timer(shadow: _Shadow, command: Command) -> None:
    attributes = command.start_timer_command_attributes
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES
    _require(attributes.timer_id, cause, "TimerId is not set on StartTimerCommand.")
    _check_length(shadow, cause, "TimerId", attributes.timer_id, "StartTimerCommand")
    _require(
        from_duration(attributes.start_to_fire_timeout) >= 0,
        cause,
        f"Invalid StartToFireTimeout on StartTimerCommand: it cannot be negative. TimerId={attributes.timer_id}",
    )
    _require(
        attributes.timer_id not in shadow.timers,
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID,
        f"{_NO_STATE_FOR}add-timer-started-event, TimerID: {attributes.timer_id}",
    )
    shadow.timers.add(attributes.timer_id)


def _check_cancel_timer(shadow: _Shadow, command: Command) -> None:
    timer_id = command.cancel_timer_command_attributes.timer_id
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES
    _require(timer_id, cause, "TimerId is not set on CancelTimerCommand.")
    _check_length(shadow, cause, "TimerId", timer_id, "CancelTimerCommand")
    _require(
        timer_id in shadow.timers or timer_id in shadow.buffered_timers,
        cause,
        f"{_NO_STATE_FOR}add-timer-canceled-event, TimerID: {timer_id}",
    )
    shadow.timers.discard(timer_id)
    shadow.buffered_timers.discard(timer_id)


def _check_marker(shadow: _Shadow, command: Command) -> None:
    name = command.record_marker_command_attributes.marker_name
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES
    _require(name, cause, "MarkerName is not set on RecordMarkerCommand.")
    _check_length(shadow, cause, "MarkerName", name, "RecordMarkerCommand")


def _check_search_attributes(shadow: _Shadow, command: Command) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
    which = "UpsertWorkflowSearchAttributesCommand"
    given = command.HasField("upsert_workflow_search_attributes_command_attributes")
    _require(given, cause, f"{which}Attributes is not set on {which}.")
    attributes = command.upsert_workflow_search_attributes_command_attributes
    _require(attributes.HasField("search_attributes"), cause, f"SearchAttributes is not set on {which}.")
    _require(attributes.search_attributes.indexed_fields, cause, f"IndexedFields is not set on {which}.")
    _check_written(shadow, attributes.search_attributes)
    shadow.search_attributes = search_attributes.merged(
        shadow.search_attributes, attributes.search_attributes
    )
    _check_attributes_size(shadow, shadow.search_attributes)


def _check_written(
    shadow: _Shadow, attributes: SearchAttributes, where: str = "", rest: str = "", namespace: str = ""
) -> None:
    """Whether search attributes may be written; `where` and `rest` are what the server says around a bad value."""
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
    try:
        search_attributes.check_names(attributes, shadow.attribute_types, namespace or shadow.ex.namespace)
    except ServiceError as error:
        raise BadCommand(cause, error.message) from None
    try:
        search_attributes.check_values(attributes, shadow.attribute_types, shadow.limits)
    except ServiceError as error:
        where = f"invalid SearchAttributes on {where}: " if where else ""
        raise BadCommand(cause, f"{where}{error.message}{rest}") from None


def _check_attributes_size(shadow: _Shadow, attributes: SearchAttributes) -> None:
    try:
        search_attributes.check_size(attributes, shadow.limits)
    except ServiceError as error:
        cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
        raise BadCommand(cause, error.message, ends_run=True) from None


def _check_memo(shadow: _Shadow, command: Command) -> None:
    _require(
        command.modify_workflow_properties_command_attributes.upserted_memo.fields,
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES,
        "UpsertedMemo.Fields is empty on ModifyWorkflowPropertiesCommand.",
    )


def _check_child(shadow: _Shadow, command: Command) -> None:
    attributes = command.start_child_workflow_execution_command_attributes
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES
    _require(attributes.workflow_id, cause, "WorkflowId is not set on StartChildWorkflowExecutionCommand.")
    _require(
        attributes.workflow_type.name, cause, "WorkflowType is not set on StartChildWorkflowExecutionCommand."
    )
    namespace = attributes.namespace or shadow.ex.namespace
    rest = f" WorkflowType={attributes.workflow_type.name} Namespace={namespace}"
    which = "StartChildWorkflowExecutionCommand"
    _check_length(shadow, cause, "WorkflowId", attributes.workflow_id, which, rest)
    _check_retry(attributes.retry_policy, cause)
    try:
        cron.check(attributes.cron_schedule)
    except ServiceError as error:
        raise BadCommand(
            cause,
            f"invalid CronSchedule on StartChildWorkflowExecutionCommand: {error.message}. "
            f"WorkflowId={attributes.workflow_id} WorkflowType={attributes.workflow_type.name} "
            f"Namespace={attributes.namespace or shadow.ex.namespace}",
        ) from None
    try:
        check_priority(attributes.priority)
    except ServiceError as error:
        raise BadCommand(cause, error.message) from None
    namespace = attributes.namespace or shadow.ex.namespace
    place = f". WorkflowId={attributes.workflow_id} WorkflowType={attributes.workflow_type.name} Namespace={namespace}"
    _check_written(
        shadow, attributes.search_attributes, "StartChildWorkflowCommand", place, attributes.namespace
    )
    _check_attributes_size(shadow, attributes.search_attributes)
    _check_pending(
        shadow.children,
        shadow.limits.pending_children,
        "child workflow executions",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED,
    )
    shadow.children += 1
    shadow.child_ids.add(attributes.workflow_id)


def _check_signal_external(shadow: _Shadow, command: Command) -> None:
    attributes = command.signal_external_workflow_execution_command_attributes
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    _require(
        attributes.execution.workflow_id,
        cause,
        "WorkflowId is not set on SignalExternalWorkflowExecutionCommand.",
    )
    _require(
        attributes.signal_name, cause, "SignalName is not set on SignalExternalWorkflowExecutionCommand."
    )
    _check_pending(
        len(shadow.ex.signals_out) + shadow.signals,
        shadow.limits.pending_signals,
        "signals to external workflows",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_SIGNALS_LIMIT_EXCEEDED,
    )
    shadow.signals += 1


def _check_cancel_external(shadow: _Shadow, command: Command) -> None:
    attributes = command.request_cancel_external_workflow_execution_command_attributes
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    _require(
        attributes.workflow_id,
        cause,
        "WorkflowId is not set on RequestCancelExternalWorkflowExecutionCommand.",
    )
    _require(
        attributes.workflow_id not in shadow.child_ids,
        cause,
        "Start and RequestCancel for child workflow is not allowed in same workflow task.",
    )
    _check_pending(
        len(shadow.ex.cancels_out) + shadow.cancels,
        shadow.limits.pending_cancels,
        "requests to cancel external workflows",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED,
    )
    shadow.cancels += 1


def _check_message(shadow: _Shadow, command: Command) -> None:
    message_id = command.protocol_message_command_attributes.message_id
    _require(
        message_id in shadow.messages,
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE,
        f"ProtocolMessageCommand referenced absent message ID {message_id}",
    )


_CHECKS: dict[int, Callable[[_Shadow, Command], None]] = {
    CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: _check_schedule_activity,
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK: _check_cancel_activity,
    CommandType.COMMAND_TYPE_START_TIMER: _check_start_timer,
    CommandType.COMMAND_TYPE_CANCEL_TIMER: _check_cancel_timer,
    CommandType.COMMAND_TYPE_RECORD_MARKER: _check_marker,
    CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _check_search_attributes,
    CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES: _check_memo,
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: _check_child,
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: _check_signal_external,
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: _check_cancel_external,
    CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE: _check_message,
}
