"""Events of the run itself: its start, what came from outside, its options, its updates, its end."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import VersioningOverride

from perdure.engine import pause_info, reset_points, virtual_time
from perdure.engine.fold.table import Table
from perdure.engine.protos import from_duration, from_timestamp
from perdure.engine.search_attributes import is_removal
from perdure.engine.state import (
    PAUSED,
    RUNNING,
    Execution,
    Update,
    UpdateStage,
)

TABLE = Table()


def pinned_version(override: VersioningOverride, workflow_type: str) -> str:
    """The definition version that an override names: its build id, where the deployment is named as the workflow type."""
    version = override.pinned.version
    return version.build_id if version.deployment_name == workflow_type else ""


def _note_own_version(ex: Execution, override: VersioningOverride) -> None:
    ex.version = pinned_version(override, ex.workflow_type)
    ex.versioning.own = bool(ex.version)


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
def _started(ex: Execution, event: HistoryEvent) -> None:
    ex.started = event.workflow_execution_started_event_attributes
    ex.start_time = from_timestamp(event.event_time)
    backoff = from_duration(ex.started.first_workflow_task_backoff)
    ex.first_task_time = ex.start_time + backoff
    ex.memo.CopyFrom(ex.started.memo)
    ex.search_attributes.CopyFrom(ex.started.search_attributes)
    _note_own_version(ex, ex.started.versioning_override)
    ex.versioning.start(ex.started)
    ex.versioning.note()
    ex.priority = ex.started.priority
    ex.reset_points = reset_points.inherited(ex.started)
    virtual_time.begin(ex, ex.started, ex.start_time)


# --- signals, cancellation, options


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
def _signaled(ex: Execution, event: HistoryEvent) -> None:
    request_id = event.workflow_execution_signaled_event_attributes.request_id
    if request_id:
        ex.signal_requests[request_id] = event.event_id
    ex.signal_count += 1


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_requested(ex: Execution, event: HistoryEvent) -> None:
    ex.cancel_requested = True
    ex.first_task_time = 0  # a run that waits for its first task hears of it at once, or when it is resumed


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
def _options_updated(ex: Execution, event: HistoryEvent) -> None:
    set_options(ex, event)
    if not virtual_time.was_absorbed(ex, event):
        virtual_time.options_updated(ex, event)


def set_options(ex: Execution, event: HistoryEvent) -> None:
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


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED)
def _paused(ex: Execution, event: HistoryEvent) -> None:
    ex.status = PAUSED
    ex.paused = event.workflow_execution_paused_event_attributes
    ex.paused_time = from_timestamp(event.event_time)
    pause_info.show(ex)


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED)
def _unpaused(ex: Execution, event: HistoryEvent) -> None:
    ex.status = RUNNING
    ex.paused = None
    pause_info.show(ex)


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED)
def _time_skipped(ex: Execution, event: HistoryEvent) -> None:
    if not virtual_time.was_absorbed(ex, event):
        virtual_time.transitioned(ex, event)


@TABLE.on(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
def _upsert_search_attributes(ex: Execution, event: HistoryEvent) -> None:
    upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    for name, payload in upserted.items():
        if is_removal(payload):
            ex.search_attributes.indexed_fields.pop(name, None)
        else:
            ex.search_attributes.indexed_fields[name].CopyFrom(payload)


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)
def _upsert_memo(ex: Execution, event: HistoryEvent) -> None:
    upserted = event.workflow_properties_modified_event_attributes.upserted_memo.fields
    for name, payload in upserted.items():
        if payload.metadata.get("encoding") == b"binary/null" or payload.data == b"null":
            ex.memo.fields.pop(name, None)
        else:
            ex.memo.fields[name].CopyFrom(payload)


# --- updates


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
def _update_admitted(ex: Execution, event: HistoryEvent) -> None:
    request = event.workflow_execution_update_admitted_event_attributes.request
    update_id = request.meta.update_id
    ex.updates[update_id] = Update(
        update_id, UpdateStage.ADMITTED, request, order=len(ex.updates), admitted_id=event.event_id
    )


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
def _update_accepted(ex: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_update_accepted_event_attributes
    update_id = attributes.protocol_instance_id
    update = ex.updates.get(update_id)
    if update is None:
        update = ex.updates[update_id] = Update(update_id, UpdateStage.ACCEPTED, attributes.accepted_request)
    update.stage = UpdateStage.ACCEPTED
    update.accepted_id = event.event_id


@TABLE.on(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
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

    TABLE[kind] = close


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
