"""`apply`: history events -> the state of a run. The same function serves live decisions and recovery.

One small function for each event type that changes state; events that only stand in the history are not listed.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowExecutionStatus, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import VersioningOverride

from perdure.engine import pause_info, reset_points, virtual_time
from perdure.engine.protos import from_duration, from_timestamp
from perdure.engine.search_attributes import is_removal
from perdure.engine.state import (
    PAUSED,
    RUNNING,
    Activity,
    Child,
    Execution,
    Timer,
    Update,
    UpdateStage,
    WorkflowTask,
)
from perdure.engine.versions import Target

_Apply = Callable[[Execution, HistoryEvent], None]
_APPLY: dict[int, _Apply] = {}
_TASK_EVENTS = frozenset(
    (
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    )
)


def apply(ex: Execution, event: HistoryEvent) -> None:
    """Appends `event` to the run's history and folds it into its state."""
    ex.events.append(event)
    ex.history_size += event.ByteSize()
    if ex.task_owed and ex.task is None and event.event_type not in _TASK_EVENTS:
        ex.task_attempt = 1  # whatever came after a failure makes the next task a first attempt
    change = _APPLY.get(event.event_type)
    if change is not None:
        change(ex, event)


def absorb(ex: Execution, event: HistoryEvent) -> None:
    """Folds a *buffered* event as far as it counts at once: what has ended is no longer pending, what came is not taken twice."""
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            if request_id := event.workflow_execution_signaled_event_attributes.request_id:
                ex.signal_requests[request_id] = 0
        case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            attributes = event.child_workflow_execution_started_event_attributes
            if child := ex.children.get(attributes.initiated_event_id):
                child.run_id = attributes.workflow_execution.run_id
        case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            pass
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
            _set_options(ex, event)
            virtual_time.options_updated(ex, event)
            virtual_time.absorbed(ex, event)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED:
            virtual_time.transitioned(ex, event)
            virtual_time.absorbed(ex, event)
        case _:
            if change := _APPLY.get(event.event_type):
                change(ex, event)


def pinned_version(override: VersioningOverride, workflow_type: str) -> str:
    """The definition version that an override names: its build id, where the deployment is named as the workflow type."""
    version = override.pinned.version
    return version.build_id if version.deployment_name == workflow_type else ""


def _note_own_version(ex: Execution, override: VersioningOverride) -> None:
    ex.version = pinned_version(override, ex.workflow_type)
    ex.versioning.own = bool(ex.version)


def _on(kind: EventType.ValueType) -> Callable[[_Apply], _Apply]:
    def register(change: _Apply) -> _Apply:
        _APPLY[kind] = change
        return change

    return register


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
def _started(ex: Execution, event: HistoryEvent) -> None:
    ex.started = event.workflow_execution_started_event_attributes
    ex.start_time = from_timestamp(event.event_time)
    backoff = from_duration(ex.started.first_workflow_task_backoff)
    ex.first_task_time = ex.start_time + backoff
    ex.memo.CopyFrom(ex.started.memo)
    ex.search_attributes.CopyFrom(ex.started.search_attributes)
    _note_own_version(ex, ex.started.versioning_override)
    ex.versioning.start(ex.started)
    ex.priority = ex.started.priority
    ex.reset_points = reset_points.inherited(ex.started)
    virtual_time.begin(ex, ex.started, ex.start_time)


# --- workflow tasks


@_on(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
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


@_on(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
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


@_on(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
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


@_on(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
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


@_on(EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
def _task_timed_out(ex: Execution, event: HistoryEvent) -> None:
    """No failure yet: the process may have died. If it is the code that hangs, the next attempts tell."""
    kind = event.workflow_task_timed_out_event_attributes.timeout_type
    if kind == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
        ex.task = None
        ex.sticky_queue = ""
    else:
        _task_ended(ex)


# --- activities


@_on(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
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


@_on(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
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


@_on(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
def _activity_completed(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_completed_event_attributes.scheduled_event_id)


@_on(EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
def _activity_failed(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_failed_event_attributes.scheduled_event_id)


@_on(EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
def _activity_timed_out(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_timed_out_event_attributes.scheduled_event_id)


@_on(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
def _activity_canceled(ex: Execution, event: HistoryEvent) -> None:
    _end_activity(ex, event, event.activity_task_canceled_event_attributes.scheduled_event_id)


# --- timers


@_on(EventType.EVENT_TYPE_TIMER_STARTED)
def _timer_started(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.timer_started_event_attributes
    fire = from_timestamp(event.event_time) + from_duration(attributes.start_to_fire_timeout)
    ex.timers[attributes.timer_id] = Timer(attributes.timer_id, event.event_id, fire)


@_on(EventType.EVENT_TYPE_TIMER_FIRED)
def _timer_fired(ex: Execution, event: HistoryEvent) -> None:
    ex.timers.pop(event.timer_fired_event_attributes.timer_id, None)


@_on(EventType.EVENT_TYPE_TIMER_CANCELED)
def _timer_canceled(ex: Execution, event: HistoryEvent) -> None:
    ex.timers.pop(event.timer_canceled_event_attributes.timer_id, None)


# --- signals, cancellation, options


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
def _signaled(ex: Execution, event: HistoryEvent) -> None:
    request_id = event.workflow_execution_signaled_event_attributes.request_id
    if request_id:
        ex.signal_requests[request_id] = event.event_id
    ex.signal_count += 1


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_requested(ex: Execution, event: HistoryEvent) -> None:
    ex.cancel_requested = True
    ex.first_task_time = 0  # a run that waits for its first task hears of it at once, or when it is resumed


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
def _options_updated(ex: Execution, event: HistoryEvent) -> None:
    _set_options(ex, event)
    if not virtual_time.was_absorbed(ex, event):
        virtual_time.options_updated(ex, event)


def _set_options(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_options_updated_event_attributes
    if attributes.attached_request_id:
        ex.attached_request_ids[attributes.attached_request_id] = event.event_id
    if attributes.unset_versioning_override:
        _note_own_version(ex, VersioningOverride())
        ex.versioning.change_override(None)
    elif attributes.HasField("versioning_override"):
        _note_own_version(ex, attributes.versioning_override)
        ex.versioning.change_override(attributes.versioning_override)
    if attributes.HasField("priority"):
        ex.priority = attributes.priority


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED)
def _paused(ex: Execution, event: HistoryEvent) -> None:
    ex.status = PAUSED
    ex.paused = event.workflow_execution_paused_event_attributes
    ex.paused_time = from_timestamp(event.event_time)
    pause_info.show(ex)


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED)
def _unpaused(ex: Execution, event: HistoryEvent) -> None:
    ex.status = RUNNING
    ex.paused = None
    pause_info.show(ex)


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED)
def _time_skipped(ex: Execution, event: HistoryEvent) -> None:
    if not virtual_time.was_absorbed(ex, event):
        virtual_time.transitioned(ex, event)


@_on(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
def _upsert_search_attributes(ex: Execution, event: HistoryEvent) -> None:
    upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    for name, payload in upserted.items():
        if is_removal(payload):
            ex.search_attributes.indexed_fields.pop(name, None)
        else:
            ex.search_attributes.indexed_fields[name].CopyFrom(payload)


@_on(EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)
def _upsert_memo(ex: Execution, event: HistoryEvent) -> None:
    upserted = event.workflow_properties_modified_event_attributes.upserted_memo.fields
    for name, payload in upserted.items():
        if payload.metadata.get("encoding") == b"binary/null" or payload.data == b"null":
            ex.memo.fields.pop(name, None)
        else:
            ex.memo.fields[name].CopyFrom(payload)


# --- children and other executions


@_on(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
def _child_initiated(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    ex.children[event.event_id] = Child(event.event_id, attributes)


@_on(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
def _child_start_failed(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.start_child_workflow_execution_failed_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
def _child_started(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.child_workflow_execution_started_event_attributes
    if child := ex.children.get(attributes.initiated_event_id):
        child.started_id = event.event_id
        child.run_id = attributes.workflow_execution.run_id


@_on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
def _child_completed(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_completed_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
def _child_failed(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_failed_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
def _child_canceled(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_canceled_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
def _child_timed_out(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_timed_out_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED)
def _child_terminated(ex: Execution, event: HistoryEvent) -> None:
    ex.children.pop(event.child_workflow_execution_terminated_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _signal_out(ex: Execution, event: HistoryEvent) -> None:
    ex.signals_out[event.event_id] = event.signal_external_workflow_execution_initiated_event_attributes


@_on(EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _signal_out_failed(ex: Execution, event: HistoryEvent) -> None:
    ex.signals_out.pop(
        event.signal_external_workflow_execution_failed_event_attributes.initiated_event_id, None
    )


@_on(EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
def _signal_out_delivered(ex: Execution, event: HistoryEvent) -> None:
    ex.signals_out.pop(event.external_workflow_execution_signaled_event_attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _cancel_out(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
    ex.cancels_out[event.event_id] = attributes


@_on(EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _cancel_out_failed(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_failed_event_attributes
    ex.cancels_out.pop(attributes.initiated_event_id, None)


@_on(EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_out_delivered(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.external_workflow_execution_cancel_requested_event_attributes
    ex.cancels_out.pop(attributes.initiated_event_id, None)


# --- updates


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
def _update_admitted(ex: Execution, event: HistoryEvent) -> None:
    request = event.workflow_execution_update_admitted_event_attributes.request
    update_id = request.meta.update_id
    ex.updates[update_id] = Update(
        update_id, UpdateStage.ADMITTED, request, order=len(ex.updates), admitted_id=event.event_id
    )


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
def _update_accepted(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_update_accepted_event_attributes
    update_id = attributes.protocol_instance_id
    update = ex.updates.get(update_id)
    if update is None:
        update = ex.updates[update_id] = Update(update_id, UpdateStage.ACCEPTED, attributes.accepted_request)
    update.stage = UpdateStage.ACCEPTED
    update.accepted_id = event.event_id


@_on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
def _update_completed(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_update_completed_event_attributes
    update_id = attributes.meta.update_id
    update = ex.updates.setdefault(update_id, Update(update_id, UpdateStage.COMPLETED))
    update.stage = UpdateStage.COMPLETED
    update.outcome = attributes.outcome
    update.request = None


# --- the end


def _closing(kind: EventType.ValueType, status: WorkflowExecutionStatus.ValueType) -> None:
    def close(ex: Execution, event: HistoryEvent) -> None:
        ex.status = status
        ex.close_time = from_timestamp(event.event_time)
        ex.task = None

    _APPLY[kind] = close


_closing(
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
)
_closing(
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
)
_closing(
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
)
_closing(
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
)
_closing(
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
)
_closing(
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
)
