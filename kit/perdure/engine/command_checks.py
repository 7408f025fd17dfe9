"""What makes a command good: one rule for each, with the cause and the words of a workflow task that fails by it.

A rule looks at the command's attributes and at the shadow that the commands before it threw on the state; it adds its own to that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.api.command.v1 import (
    CancelTimerCommandAttributes,
    ContinueAsNewWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
    ModifyWorkflowPropertiesCommandAttributes,
    ProtocolMessageCommandAttributes,
    RecordMarkerCommandAttributes,
    RequestCancelActivityTaskCommandAttributes,
    RequestCancelExternalWorkflowExecutionCommandAttributes,
    ScheduleActivityTaskCommandAttributes,
    SignalExternalWorkflowExecutionCommandAttributes,
    StartChildWorkflowExecutionCommandAttributes,
    StartTimerCommandAttributes,
    UpsertWorkflowSearchAttributesCommandAttributes,
)
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause

from perdure.engine import activity_options, cron, search_attributes
from perdure.engine.checks import is_uuid
from perdure.engine.command_shadow import (
    BadCommand,
    Rule,
    Shadow,
    check_durations,
    check_lengths,
    check_namespace,
    check_pending,
    check_retry,
    require,
    wrong_duration,
)
from perdure.engine.errors import ServiceError
from perdure.engine.priorities import check_priority

_NO_STATE_FOR = "invalid history builder state for action: "
_Cause = WorkflowTaskFailedCause


# --- activities and timers


def _schedule_activity(shadow: Shadow, attributes: ScheduleActivityTaskCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
    try:
        activity_options.check_command(attributes, shadow.limits)
    except ServiceError as error:
        raise BadCommand(cause, error.message) from None
    own_queue = attributes.task_queue.name == shadow.ex.task_queue
    require(
        own_queue or not attributes.use_workflow_build_id,
        cause,
        "Activity with UseCompatibleVersion cannot run on different task queue.",
    )
    activity_id = attributes.activity_id
    require(
        activity_id not in shadow.activities,
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID,
        f"{_NO_STATE_FOR}add-activitytask-scheduled-event, ActivityID: {activity_id}",
    )
    check_pending(
        len(shadow.ex.activities) + shadow.new_activities,
        shadow.limits.pending_activities,
        "activities",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED,
    )
    shadow.activities.add(activity_id)
    shadow.new_activities += 1


def _cancel_activity(shadow: Shadow, attributes: RequestCancelActivityTaskCommandAttributes) -> None:
    scheduled = attributes.scheduled_event_id
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES
    require(scheduled > 0, cause, "ScheduledEventId is not set on RequestCancelActivityTaskCommand.")
    # an activity scheduled by this very completion has an id soon after the events there are
    new = range(len(shadow.ex.events) + 1, len(shadow.ex.events) + 5 + shadow.count)
    known = scheduled in shadow.scheduled or (scheduled in new and shadow.new_activities > 0)
    require(
        known and scheduled not in shadow.cancelled,
        cause,
        f"{_NO_STATE_FOR}add-activitytask-cancel-requested-event, ScheduledEventID: {scheduled}",
    )
    shadow.cancelled.add(scheduled)


def _start_timer(shadow: Shadow, attributes: StartTimerCommandAttributes) -> None:
    timer_id, where = attributes.timer_id, "StartTimerCommand"
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES
    require(timer_id, cause, f"TimerId is not set on {where}.")
    check_lengths(shadow, cause, "TimerId", where, timer_id)
    wrong = wrong_duration(attributes.start_to_fire_timeout)
    require(not wrong, cause, f"An invalid StartToFireTimeout is set on {where}: {wrong}. TimerId={timer_id}")
    require(
        timer_id not in shadow.timers,
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID,
        f"{_NO_STATE_FOR}add-timer-started-event, TimerID: {timer_id}",
    )
    shadow.timers.add(timer_id)


def _cancel_timer(shadow: Shadow, attributes: CancelTimerCommandAttributes) -> None:
    timer_id, where = attributes.timer_id, "CancelTimerCommand"
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES
    require(timer_id, cause, f"TimerId is not set on {where}.")
    check_lengths(shadow, cause, "TimerId", where, timer_id)
    require(
        timer_id in shadow.timers or timer_id in shadow.buffered_timers,
        cause,
        f"{_NO_STATE_FOR}add-timer-canceled-event, TimerID: {timer_id}",
    )
    shadow.timers.discard(timer_id)
    shadow.buffered_timers.discard(timer_id)


# --- marks


def _marker(shadow: Shadow, attributes: RecordMarkerCommandAttributes) -> None:
    cause, where = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES, "RecordMarkerCommand"
    require(attributes.marker_name, cause, f"MarkerName is not set on {where}.")
    check_lengths(shadow, cause, "MarkerName", where, attributes.marker_name)


def _upsert_attributes(shadow: Shadow, attributes: UpsertWorkflowSearchAttributesCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
    where = "UpsertWorkflowSearchAttributesCommand"
    require(attributes.HasField("search_attributes"), cause, f"SearchAttributes is not set on {where}.")
    require(attributes.search_attributes.indexed_fields, cause, f"IndexedFields is not set on {where}.")
    _check_written(shadow, attributes.search_attributes)
    shadow.search_attributes = search_attributes.merged(
        shadow.search_attributes, attributes.search_attributes
    )
    _check_attributes_size(shadow, shadow.search_attributes)


def _check_written(
    shadow: Shadow, attributes: SearchAttributes, where: str = "", rest: str = "", namespace: str = ""
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


def _check_attributes_size(shadow: Shadow, attributes: SearchAttributes) -> None:
    try:
        search_attributes.check_size(attributes, shadow.limits)
    except ServiceError as error:
        cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
        raise BadCommand(cause, error.message, ends_run=True) from None


def _modify_properties(shadow: Shadow, attributes: ModifyWorkflowPropertiesCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES
    where = "ModifyWorkflowPropertiesCommand"
    require(attributes.HasField("upserted_memo"), cause, f"UpsertedMemo is not set on {where}.")
    require(attributes.upserted_memo.fields, cause, f"UpsertedMemo.Fields is not set on {where}.")


def _message(shadow: Shadow, attributes: ProtocolMessageCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE
    message_id = attributes.message_id
    require(message_id, cause, "MessageID is not set on ProtocolMessageCommand.")
    require(
        message_id in shadow.messages,
        cause,
        f"ProtocolMessageCommand referenced absent message ID {message_id}",
    )


# --- other workflows


def _start_child(shadow: Shadow, attributes: StartChildWorkflowExecutionCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES
    where = "StartChildWorkflowExecutionCommand"
    workflow_id, kind = attributes.workflow_id, attributes.workflow_type.name
    namespace = attributes.namespace or shadow.ex.namespace
    check_namespace(shadow, cause, namespace)
    missing = "Required field {} is not set on " + where + ". {} Namespace=" + namespace
    require(workflow_id, cause, missing.format("WorkflowId", f"WorkflowType={kind}"))
    require(kind, cause, missing.format("WorkflowType", f"WorkflowId={workflow_id}"))
    rest = f" WorkflowType={kind} Namespace={namespace}"
    check_lengths(shadow, cause, "WorkflowId", where, workflow_id, rest)
    length, limit = len(kind.encode()), shadow.limits.id_length
    place = f". WorkflowId={workflow_id}{rest}"
    require(
        length <= limit,
        cause,
        f"WorkflowType on {where} exceeds length limit. WorkflowId={workflow_id} WorkflowType={kind} "
        f"Length={length} Limit={limit} Namespace={namespace}",
    )
    check_durations(attributes, _CHILD_TIMEOUTS, cause, where, place)
    check_retry(attributes, cause, where, place)
    try:
        cron.check(attributes.cron_schedule)
    except ServiceError as error:
        raise BadCommand(cause, f"invalid CronSchedule on {where}: {error.message}{place}") from None
    _check_written(
        shadow, attributes.search_attributes, "StartChildWorkflowCommand", place, attributes.namespace
    )
    try:
        check_priority(attributes.priority)
    except ServiceError as error:
        raise BadCommand(cause, error.message) from None
    _check_attributes_size(shadow, attributes.search_attributes)
    check_pending(
        shadow.children,
        shadow.limits.pending_children,
        "child workflow executions",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED,
    )
    shadow.children += 1
    shadow.child_ids.add(workflow_id)


_CHILD_TIMEOUTS = {
    "workflow_execution_timeout": "WorkflowExecutionTimeout",
    "workflow_run_timeout": "WorkflowRunTimeout",
    "workflow_task_timeout": "WorkflowTaskTimeout",
}


def _signal_external(shadow: Shadow, attributes: SignalExternalWorkflowExecutionCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    where, namespace, name = (
        "SignalExternalWorkflowExecutionCommand",
        attributes.namespace,
        attributes.signal_name,
    )
    check_namespace(shadow, cause, namespace)
    require(attributes.HasField("execution"), cause, f"Execution is not set on {where}.")
    target, run_id = attributes.execution.workflow_id, attributes.execution.run_id
    place = f" Namespace={namespace} RunId={run_id}"
    require(target, cause, f"WorkflowId is not set on {where}.{place} SignalName={name}")
    check_lengths(shadow, cause, "WorkflowId", where, target, f"{place} SignalName={name}")
    require(
        not run_id or is_uuid(run_id),
        cause,
        f"Invalid RunId set on {where}. WorkflowId={target}{place} SignalName={name}",
    )
    require(name, cause, f"SignalName is not set on {where}. WorkflowId={target}{place}")
    check_pending(
        len(shadow.ex.signals_out) + shadow.signals,
        shadow.limits.pending_signals,
        "signals to external workflows",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_SIGNALS_LIMIT_EXCEEDED,
    )
    shadow.signals += 1


def _cancel_external(
    shadow: Shadow, attributes: RequestCancelExternalWorkflowExecutionCommandAttributes
) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    where = "RequestCancelExternalWorkflowExecutionCommand"
    target, run_id, namespace = attributes.workflow_id, attributes.run_id, attributes.namespace
    check_namespace(shadow, cause, namespace)
    require(target, cause, f"WorkflowId is not set on {where}. Namespace={namespace} RunId={run_id}")
    place = f" RunId={run_id} Namespace={namespace}"
    check_lengths(shadow, cause, "WorkflowId", where, target, place)
    require(not run_id or is_uuid(run_id), cause, f"Invalid RunId set on {where}. WorkflowId={target}{place}")
    require(
        target not in shadow.child_ids,
        cause,
        f"Start and RequestCancel for child workflow is not allowed in same workflow task. WorkflowId={target}{place}",
    )
    check_pending(
        len(shadow.ex.cancels_out) + shadow.cancels,
        shadow.limits.pending_cancels,
        "requests to cancel external workflows",
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED,
    )
    shadow.cancels += 1


# --- the end


def _fail(shadow: Shadow, attributes: FailWorkflowExecutionCommandAttributes) -> None:
    require(
        attributes.HasField("failure"),
        _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES,
        "Failure is not set on FailWorkflowExecutionCommand.",
    )


def _continue_as_new(shadow: Shadow, attributes: ContinueAsNewWorkflowExecutionCommandAttributes) -> None:
    cause = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CONTINUE_AS_NEW_ATTRIBUTES
    where = "ContinueAsNewWorkflowExecutionCommand"
    kind = attributes.workflow_type.name or shadow.ex.workflow_type
    queue = f'name:"{attributes.task_queue.name or shadow.ex.task_queue}" kind:TASK_QUEUE_KIND_NORMAL'
    place = f". WorkflowType={kind} TaskQueue={queue}"
    check_lengths(shadow, cause, "WorkflowType", where, kind)
    check_durations(attributes, _NEXT_TIMEOUTS, cause, where, place)
    check_retry(attributes, cause, where, place)
    _check_written(shadow, attributes.search_attributes, where, place)
    _check_attributes_size(shadow, attributes.search_attributes)


_NEXT_TIMEOUTS = {
    "workflow_run_timeout": "WorkflowRunTimeout",
    "workflow_task_timeout": "WorkflowTaskTimeout",
    "backoff_start_interval": "BackoffStartInterval",
}


def _nothing(shadow: Shadow, attributes: object) -> None:
    """Any attributes will do."""


def _rule(cause: str, check: Callable[[Shadow, Any], None]) -> Rule:
    return Rule(_Cause.Value(f"WORKFLOW_TASK_FAILED_CAUSE_BAD_{cause}"), check)


CHECKS: dict[int, Rule] = {
    CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: _rule(
        "SCHEDULE_ACTIVITY_ATTRIBUTES", _schedule_activity
    ),
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK: _rule(
        "REQUEST_CANCEL_ACTIVITY_ATTRIBUTES", _cancel_activity
    ),
    CommandType.COMMAND_TYPE_START_TIMER: _rule("START_TIMER_ATTRIBUTES", _start_timer),
    CommandType.COMMAND_TYPE_CANCEL_TIMER: _rule("CANCEL_TIMER_ATTRIBUTES", _cancel_timer),
    CommandType.COMMAND_TYPE_RECORD_MARKER: _rule("RECORD_MARKER_ATTRIBUTES", _marker),
    CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _rule(
        "SEARCH_ATTRIBUTES", _upsert_attributes
    ),
    CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES: _rule(
        "MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES", _modify_properties
    ),
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: _rule(
        "START_CHILD_EXECUTION_ATTRIBUTES", _start_child
    ),
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: _rule(
        "SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES", _signal_external
    ),
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: _rule(
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES", _cancel_external
    ),
    CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE: _rule("UPDATE_WORKFLOW_EXECUTION_MESSAGE", _message),
    CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: _rule(
        "COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES", _nothing
    ),
    CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: _rule("FAIL_WORKFLOW_EXECUTION_ATTRIBUTES", _fail),
    CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION: _rule(
        "CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES", _nothing
    ),
    CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: _rule(
        "CONTINUE_AS_NEW_ATTRIBUTES", _continue_as_new
    ),
}
