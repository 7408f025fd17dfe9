"""Events of workflow tasks."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine import reset_points
from perdure.engine.fold.table import Table
from perdure.engine.protos import from_duration, from_timestamp
from perdure.engine.state import (
    Execution,
    WorkflowTask,
)
from perdure.engine.worker_versions import Target

TABLE = Table()


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
def _task_scheduled(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_task_scheduled_event_attributes
    when = from_timestamp(event.event_time)
    ex.first_task_time = 0
    ex.task = WorkflowTask(
        scheduled_id=event.event_id,
        scheduled_time=when,
        attempt=attributes.attempt,
        timeout=from_duration(attributes.start_to_close_timeout),
        queue=attributes.task_queue.name,
        sticky=bool(attributes.task_queue.normal_name),
        original_scheduled_time=when,
        stamp=ex.new_stamp(),
    )
    ex.task_attempt = attributes.attempt
    ex.task_owed = False


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
def _task_started(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_task_started_event_attributes
    assert ex.task is not None
    ex.task.started_id = event.event_id
    ex.task.started_time = from_timestamp(event.event_time)
    ex.task.identity = attributes.identity
    ex.task.request_id = attributes.request_id
    ex.task.suggest_reasons = tuple(attributes.suggest_continue_as_new_reasons)
    ex.task.target_changed = attributes.target_worker_deployment_version_changed
    if ex.task.target_changed and ex.versioning.notified is None:
        ex.versioning.notified = Target(
            None
        )  # recovered: of which target the worker was told is not known any more
    ex.task.history_size = attributes.history_size_bytes


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
def _task_completed(ex: Execution, event: HistoryEvent) -> None:
    ex.previous_started_id = event.workflow_task_completed_event_attributes.started_event_id
    reset_points.add(ex, event)
    ex.previous_completed_id = event.event_id
    ex.versioning.complete(event.workflow_task_completed_event_attributes)
    ex.task = None
    ex.task_attempt = 1
    ex.task_failures = 0
    ex.close_attempted = False


def _task_ended(ex: Execution) -> None:
    sticky = ex.task is not None and ex.task.sticky
    ex.task = None
    ex.sticky_queue = ""
    ex.task_attempt = 1 if sticky else ex.task_attempt + 1
    ex.task_owed = True


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
def _task_failed(ex: Execution, event: HistoryEvent) -> None:
    _task_ended(ex)
    attributes = event.workflow_task_failed_event_attributes
    if attributes.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
        _reset(ex, event)
    elif (
        attributes.cause
        == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED
    ):
        ex.task_attempt = 1
    else:
        ex.task_failures += 1


def _reset(ex: Execution, event: HistoryEvent) -> None:
    """Up to here the history is another run's. Time begins anew for the run, and for its activities that wait."""
    attributes = event.workflow_task_failed_event_attributes
    ex.reset_of.append(attributes.base_run_id)
    ex.task_attempt = 1
    if attributes.new_run_id != ex.run_id:
        return
    ex.reset_time = ex.start_time = from_timestamp(event.event_time)
    for activity in ex.activities.values():
        activity.scheduled_time = activity.due_time = ex.reset_time


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
def _task_timed_out(ex: Execution, event: HistoryEvent) -> None:
    """No failure yet: the process may have died. If it is the code that hangs, the next attempts tell."""
    kind = event.workflow_task_timed_out_event_attributes.timeout_type
    if kind == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
        ex.task = None
        ex.sticky_queue = ""
    else:
        _task_ended(ex)
