"""Events of what a run waits for: activities, timers, children, other executions."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.fold.table import Table
from perdure.engine.protos import from_duration, from_timestamp
from perdure.engine.state import (
    Activity,
    Child,
    Execution,
    Timer,
)

TABLE = Table()


# --- activities


@TABLE.on(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
def _activity_scheduled(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.activity_task_scheduled_event_attributes
    when = from_timestamp(event.event_time)
    activity = Activity(event.event_id, attributes, when, when, attributes, stamp=ex.new_stamp())
    ex.activities[event.event_id] = activity
    ex.activity_ids[attributes.activity_id] = event.event_id
    if ex.division:
        ex.activity = activity
        activity.standalone = True
        activity.start_delay = from_duration(ex.started.first_workflow_task_backoff)
        activity.original_start_delay = activity.start_delay
        activity.due_time = when + activity.start_delay


@TABLE.on(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
def _activity_cancel_requested(ex: Execution, event: HistoryEvent) -> None:
    scheduled = event.activity_task_cancel_requested_event_attributes.scheduled_event_id
    if activity := ex.activities.get(scheduled):
        activity.cancel_requested_id = event.event_id


_STANDALONE_END = {  # how the run of a standalone activity ends with its only activity
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
}


def _end_activity(ex: Execution, event: HistoryEvent, scheduled_id: int) -> None:
    activity = ex.activities.pop(scheduled_id, None)
    if activity is not None and ex.activity_ids.get(activity.id) == scheduled_id:
        del ex.activity_ids[activity.id]
    if ex.division:
        ex.status = _STANDALONE_END[event.event_type]
        ex.close_time = from_timestamp(event.event_time)


@TABLE.on(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
def _activity_completed(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_completed_event_attributes.scheduled_event_id)


@TABLE.on(EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
def _activity_failed(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_failed_event_attributes.scheduled_event_id)


@TABLE.on(EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
def _activity_timed_out(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_timed_out_event_attributes.scheduled_event_id)


@TABLE.on(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
def _activity_canceled(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_canceled_event_attributes.scheduled_event_id)


# --- timers


@TABLE.on(EventType.EVENT_TYPE_TIMER_STARTED)
def _timer_started(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.timer_started_event_attributes
    fire = from_timestamp(event.event_time) + from_duration(attributes.start_to_fire_timeout)
    ex.timers[attributes.timer_id] = Timer(attributes.timer_id, event.event_id, fire)


@TABLE.on(EventType.EVENT_TYPE_TIMER_FIRED)
def _timer_fired(ex: Execution, event: HistoryEvent) -> None:
    ex.timers.pop(event.timer_fired_event_attributes.timer_id, None)


@TABLE.on(EventType.EVENT_TYPE_TIMER_CANCELED)
def _timer_canceled(ex: Execution, event: HistoryEvent) -> None:
    ex.timers.pop(event.timer_canceled_event_attributes.timer_id, None)


# --- children and other executions


@TABLE.on(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
def _child_initiated(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    ex.children[event.event_id] = Child(event.event_id, attributes)


@TABLE.on(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
def _child_start_failed(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.start_child_workflow_execution_failed_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
def _child_started(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.child_workflow_execution_started_event_attributes
    if child := ex.children.get(attributes.initiated_event_id):
        child.started_id = event.event_id
        child.run_id = attributes.workflow_execution.run_id


@TABLE.on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
def _child_completed(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_completed_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
def _child_failed(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_failed_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
def _child_canceled(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_canceled_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
def _child_timed_out(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_timed_out_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED)
def _child_terminated(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_terminated_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _signal_out(ex: Execution, event: HistoryEvent) -> None:
    ex.signals_out[event.event_id] = event.signal_external_workflow_execution_initiated_event_attributes


@TABLE.on(EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _signal_out_failed(ex: Execution, event: HistoryEvent) -> None:
    ex.signals_out.pop(
        event.signal_external_workflow_execution_failed_event_attributes.initiated_event_id, None
    )


@TABLE.on(EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
def _signal_out_delivered(ex: Execution, event: HistoryEvent) -> None:
    ex.signals_out.pop(event.external_workflow_execution_signaled_event_attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _cancel_out(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
    ex.cancels_out[event.event_id] = attributes


@TABLE.on(EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _cancel_out_failed(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_failed_event_attributes
    ex.cancels_out.pop(attributes.initiated_event_id, None)


@TABLE.on(EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_out_delivered(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.external_workflow_execution_cancel_requested_event_attributes
    ex.cancels_out.pop(attributes.initiated_event_id, None)
