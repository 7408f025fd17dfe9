"""A run's records -> its timeline.

One pass over the history makes a row for each activity, timer, signal, child and so on: one small method for each event type, found by
its number. Then the attempts, which Temporal's history forgets, are put into the activities' rows (`perdure.view.attempts`), the
processes that did the work get their numbers, and the whole is put into a sentence (`perdure.view.verdict`).

Pure: the same records and the same `now` give the same timeline. A history from elsewhere has no attempt records; its rows then
show what the history tells (the last attempt, its number, the failure before it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import RunRecords
from perdure.view.attempts import assign_workers, fill_attempts
from perdure.view.parts import Attempt, Kind, Row, State, Task, Timeline
from perdure.view.verdict import judge
from perdure.view.words import Fault, clean, duration, fault, nanoseconds, payload_text, payloads_text

_STATES: dict[int, State] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: State.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: State.FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: State.CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: State.TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: State.CONTINUED_AS_NEW,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: State.TIMED_OUT,
}
# Ends of workflow tasks that are no fault of the workflow's code: the service takes the task back and gives a new one.
_HARMLESS = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_UPDATE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED,
}


def timeline(records: RunRecords, now: int) -> Timeline:
    """The timeline of a run; what is open extends to `now`."""
    reader = _Reader(records, now)
    for event in records.events:
        reader.read(event)
    for buffered in records.buffered:
        reader.read(buffered.event)
    return reader.finish()


class _Reader:
    """Folds history events into rows."""

    def __init__(self, records: RunRecords, now: int) -> None:
        started = records.started
        self.records = records
        self.run = Row(
            Kind.WORKFLOW,
            1,
            clean(started.workflow_type),
            started.start_time,
            State.RUNNING,
            task_queue=clean(started.task_queue),
        )
        self.timeline = Timeline(
            workflow_id=clean(started.workflow_id),
            run_id=started.run_id,
            workflow_type=clean(started.workflow_type),
            version=records.changed.version if records.changed else started.version,
            state=State.RUNNING,
            start=started.start_time,
            end=None,
            now=max(now, started.start_time),
            rows=[self.run],
            tasks=[],
            workers=[],
            parent=clean(started.parent_workflow_id),
            history_length=len(records.events),
        )
        self.by_event: dict[int, Row] = {}
        self.updates: dict[str, Row] = {}
        self.timers: dict[str, Row] = {}
        self.task_identities: list[str] = []
        self.scheduled_task: int | None = None  # when the workflow task that no worker took yet was scheduled
        self.failing: Task | None = None  # the last workflow task, when it failed and none succeeded since
        self.closing_fault: Fault | None = None
        self.closing_activity = 0  # scheduled_event_id that the workflow's failure names

    def read(self, event: HistoryEvent) -> None:
        method = _METHODS.get(event.event_type)
        if method is not None:
            method(self, event, nanoseconds(event.event_time))

    def finish(self) -> Timeline:
        line, closed = self.timeline, self.records.closed
        if closed is not None:
            line.end = closed.close_time if line.end is None else line.end
            line.state = _STATES.get(closed.status, line.state)
            line.next_run = line.next_run or closed.new_run_id
        line.now = max(line.now, line.end or 0)
        self.run.state, self.run.end, self.run.fault = line.state, line.end, self.closing_fault
        fill_attempts(self.records, self.by_event, line)
        if line.end is not None:
            for row in line.rows[1:]:
                if row.end is None:
                    row.end, row.state = max(line.end, row.start), State.ABANDONED
            for task in line.tasks:
                task.end = line.end if task.end is None else task.end
        assign_workers(self.records, line, self.task_identities)
        judge(
            line,
            failing=self.failing,
            scheduled_task=self.scheduled_task,
            closing_activity=self.closing_activity,
        )
        return line

    def add(
        self, kind: Kind, event: HistoryEvent, time: int, name: str, state: State = State.WAITING, **more: Any
    ) -> Row:
        row = Row(kind, event.event_id, clean(name, 200) or "(no name)", time, state, **more)
        if row.point:
            row.end = time
        if event.HasField("user_metadata") and event.user_metadata.HasField("summary"):
            row.detail = payload_text(event.user_metadata.summary).strip('"')
        self.timeline.rows.append(row)
        if event.event_id:
            self.by_event[event.event_id] = row
        return row

    def close(self, event_id: int, time: int, state: State, why: Fault | None = None) -> Row | None:
        row = self.by_event.get(event_id)
        if row is not None and (row.end is None or row.point):
            row.end, row.state, row.fault = time, state, why
        return row

    # --- the workflow itself

    def started(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_started_event_attributes
        self.run.detail = payloads_text(about.input)
        self.timeline.previous_run = about.continued_execution_run_id
        self.run.due = (
            self.records.started.execution_time if about.HasField("first_workflow_task_backoff") else None
        )

    def closed(self, event: HistoryEvent, time: int, state: State, next_run: str = "") -> None:
        self.timeline.state, self.timeline.end, self.timeline.next_run = state, time, next_run
        self.scheduled_task = self.failing = None

    def completed(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_completed_event_attributes
        self.closed(event, time, State.COMPLETED, about.new_execution_run_id)
        self.timeline.result = self.run.result = payloads_text(about.result)

    def failed(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_failed_event_attributes
        self.closed(event, time, State.FAILED, about.new_execution_run_id)
        self.closing_fault = fault(about.failure)
        cause = about.failure
        while cause.WhichOneof("failure_info") != "activity_failure_info" and cause.HasField("cause"):
            cause = cause.cause
        self.closing_activity = cause.activity_failure_info.scheduled_event_id

    def timed_out(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_timed_out_event_attributes
        self.closed(event, time, State.TIMED_OUT, about.new_execution_run_id)

    def canceled(self, event: HistoryEvent, time: int) -> None:
        self.closed(event, time, State.CANCELED)

    def terminated(self, event: HistoryEvent, time: int) -> None:
        self.closed(event, time, State.TERMINATED)
        reason = clean(event.workflow_execution_terminated_event_attributes.reason)
        self.closing_fault = Fault("", reason) if reason else None

    def continued(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_continued_as_new_event_attributes
        self.closed(event, time, State.CONTINUED_AS_NEW, about.new_execution_run_id)
        self.run.result = payloads_text(about.input)

    def paused(self, event: HistoryEvent, time: int) -> None:
        self.timeline.state = State.PAUSED
        reason = event.workflow_execution_paused_event_attributes.reason
        self.add(Kind.NOTE, event, time, "paused", State.COMPLETED).detail = clean(reason)

    def unpaused(self, event: HistoryEvent, time: int) -> None:
        self.timeline.state = State.RUNNING
        self.add(Kind.NOTE, event, time, "unpaused", State.COMPLETED)

    def options_updated(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_options_updated_event_attributes
        build = about.versioning_override.pinned.version.build_id
        if build:
            self.add(Kind.NOTE, event, time, f"moved to version {build}", State.COMPLETED)

    def cancel_requested(self, event: HistoryEvent, time: int) -> None:
        cause = event.workflow_execution_cancel_requested_event_attributes.cause
        self.add(Kind.NOTE, event, time, "cancel requested", State.COMPLETED).detail = clean(cause)

    # --- workflow tasks

    def task_scheduled(self, event: HistoryEvent, time: int) -> None:
        self.scheduled_task = time

    def task_started(self, event: HistoryEvent, time: int) -> None:
        self.scheduled_task = None
        self.timeline.tasks.append(Task(time, None, State.RUNNING))
        self.task_identities.append(event.workflow_task_started_event_attributes.identity)

    def task_closed(self, time: int, state: State, why: Fault | None = None) -> None:
        if self.timeline.tasks and self.timeline.tasks[-1].end is None:
            task = self.timeline.tasks[-1]
            task.end, task.state, task.fault = time, state, why
            self.failing = task if why else None

    def task_completed(self, event: HistoryEvent, time: int) -> None:
        self.task_closed(time, State.COMPLETED)

    def task_failed(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_task_failed_event_attributes
        if about.cause in _HARMLESS:
            self.task_closed(time, State.COMPLETED)
            return
        said = fault(about.failure)
        if about.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR:
            said = Fault("NondeterminismError", said.message)
        self.task_closed(time, State.FAILED, said)

    def task_timed_out(self, event: HistoryEvent, time: int) -> None:
        self.scheduled_task = time
        self.task_closed(time, State.LOST)

    # --- activities

    def activity_scheduled(self, event: HistoryEvent, time: int) -> None:
        about = event.activity_task_scheduled_event_attributes
        row = self.add(
            Kind.ACTIVITY, event, time, about.activity_type.name, task_queue=clean(about.task_queue.name)
        )
        row.detail = row.detail or payloads_text(about.input)
        row.max_attempts = about.retry_policy.maximum_attempts

    def activity_started(self, event: HistoryEvent, time: int) -> None:
        about = event.activity_task_started_event_attributes
        row = self.by_event.get(about.scheduled_event_id)
        if row is not None:
            row.earlier = max(about.attempt - 1, 0)
            if about.HasField("last_failure"):
                row.fault = fault(about.last_failure)
            row.state = State.RUNNING
            row.attempts.append(
                Attempt(
                    max(about.attempt, 1), State.RUNNING, None, time, fault=row.fault, identity=about.identity
                )
            )

    def activity_completed(self, event: HistoryEvent, time: int) -> None:
        about = event.activity_task_completed_event_attributes
        row = self.by_event.get(about.scheduled_event_id)
        if row is not None:
            row.completions += 1
            self.close(about.scheduled_event_id, time, State.COMPLETED, row.fault)
            row.result = payloads_text(about.result)

    def activity_failed(self, event: HistoryEvent, time: int) -> None:
        about = event.activity_task_failed_event_attributes
        row = self.close(about.scheduled_event_id, time, State.FAILED, fault(about.failure))
        if row is not None:
            row.final = True

    def activity_timed_out(self, event: HistoryEvent, time: int) -> None:
        about = event.activity_task_timed_out_event_attributes
        row = self.close(about.scheduled_event_id, time, State.TIMED_OUT, fault(about.failure))
        if row is not None:
            row.final = True

    def activity_canceled(self, event: HistoryEvent, time: int) -> None:
        self.close(event.activity_task_canceled_event_attributes.scheduled_event_id, time, State.CANCELED)

    # --- timers, signals, updates, markers

    def timer_started(self, event: HistoryEvent, time: int) -> None:
        about = event.timer_started_event_attributes
        span = nanoseconds(about.start_to_fire_timeout)
        row = self.add(Kind.TIMER, event, time, duration(span), due=time + span)
        self.timers[about.timer_id] = row

    def timer_fired(self, event: HistoryEvent, time: int) -> None:
        row = self.timers.get(event.timer_fired_event_attributes.timer_id)
        if row is not None:
            row.end, row.state = time, State.COMPLETED

    def timer_canceled(self, event: HistoryEvent, time: int) -> None:
        row = self.timers.get(event.timer_canceled_event_attributes.timer_id)
        if row is not None:
            row.end, row.state = time, State.CANCELED

    def signaled(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_signaled_event_attributes
        row = self.add(Kind.SIGNAL, event, time, about.signal_name, State.COMPLETED)
        row.detail = payloads_text(about.input)

    def update_admitted(self, event: HistoryEvent, time: int) -> None:
        request = event.workflow_execution_update_admitted_event_attributes.request
        row = self.add(Kind.UPDATE, event, time, request.input.name)
        row.detail = payloads_text(request.input.args)
        self.updates[request.meta.update_id] = row

    def update_accepted(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_update_accepted_event_attributes
        row = self.updates.get(about.protocol_instance_id)
        if row is None:
            row = self.add(Kind.UPDATE, event, time, about.accepted_request.input.name)
            row.detail = payloads_text(about.accepted_request.input.args)
            self.updates[about.protocol_instance_id] = row
        row.state = State.RUNNING

    def update_completed(self, event: HistoryEvent, time: int) -> None:
        about = event.workflow_execution_update_completed_event_attributes
        row = self.updates.get(about.meta.update_id) or self.by_event.get(about.accepted_event_id)
        if row is None:
            return
        row.end, row.state = time, State.COMPLETED
        if about.outcome.HasField("failure"):
            row.state, row.fault = State.FAILED, fault(about.outcome.failure)
        row.result = payloads_text(about.outcome.success)

    def marker(self, event: HistoryEvent, time: int) -> None:
        about = event.marker_recorded_event_attributes
        data = about.details["data"].payloads if "data" in about.details else ()
        if about.marker_name == "core_local_activity" and data:
            self.local_activity(event, time, _json_object(data[0].data))
        elif about.marker_name == "core_patch":
            change = about.details["patch-data"].payloads if "patch-data" in about.details else ()
            name = _json_object(change[0].data).get("id", "") if change else ""
            self.add(Kind.NOTE, event, time, f"patched {name}".strip(), State.COMPLETED)
        else:
            self.add(Kind.NOTE, event, time, f"marker {about.marker_name}", State.COMPLETED)

    def local_activity(self, event: HistoryEvent, time: int, data: dict[str, Any]) -> None:
        """A local activity leaves one marker when it is done; its beginning and end are in the marker's data."""
        about = event.marker_recorded_event_attributes
        end = _iso(data.get("complete_time")) or time
        start = min(_iso(data.get("original_schedule_time")) or end, end)
        failed = about.HasField("failure")
        state = State.FAILED if failed else State.COMPLETED
        row = self.add(Kind.LOCAL_ACTIVITY, event, start, str(data.get("activity_type", "")), state, end=end)
        row.fault = fault(about.failure) if failed else None
        row.final = failed
        row.completions = 0 if failed else 1
        if "result" in about.details:
            row.result = payloads_text(about.details["result"])
        number = max(int(data.get("attempt", 1)), 1)
        row.earlier = number - 1
        row.attempts.append(Attempt(number, state, None, start, end, row.fault))

    # --- children, external workflows, Nexus

    def child_initiated(self, event: HistoryEvent, time: int) -> None:
        about = event.start_child_workflow_execution_initiated_event_attributes
        row = self.add(
            Kind.CHILD, event, time, about.workflow_type.name, workflow_id=clean(about.workflow_id)
        )
        row.detail = row.detail or row.workflow_id

    def child_started(self, event: HistoryEvent, time: int) -> None:
        about = event.child_workflow_execution_started_event_attributes
        row = self.by_event.get(about.initiated_event_id)
        if row is not None:
            row.state = State.RUNNING

    def child_start_failed(self, event: HistoryEvent, time: int) -> None:
        about = event.start_child_workflow_execution_failed_event_attributes
        why = Fault(
            "",
            f"a workflow with the id {clean(about.workflow_id)} exists already"
            if about.cause == 1
            else "could not be started",
        )
        self.close(about.initiated_event_id, time, State.FAILED, why)

    def child_completed(self, event: HistoryEvent, time: int) -> None:
        about = event.child_workflow_execution_completed_event_attributes
        row = self.close(about.initiated_event_id, time, State.COMPLETED)
        if row is not None:
            row.result = payloads_text(about.result)

    def child_failed(self, event: HistoryEvent, time: int) -> None:
        about = event.child_workflow_execution_failed_event_attributes
        self.close(about.initiated_event_id, time, State.FAILED, fault(about.failure))

    def child_canceled(self, event: HistoryEvent, time: int) -> None:
        self.close(
            event.child_workflow_execution_canceled_event_attributes.initiated_event_id, time, State.CANCELED
        )

    def child_timed_out(self, event: HistoryEvent, time: int) -> None:
        self.close(
            event.child_workflow_execution_timed_out_event_attributes.initiated_event_id,
            time,
            State.TIMED_OUT,
        )

    def child_terminated(self, event: HistoryEvent, time: int) -> None:
        self.close(
            event.child_workflow_execution_terminated_event_attributes.initiated_event_id,
            time,
            State.TERMINATED,
        )

    def signal_sent(self, event: HistoryEvent, time: int) -> None:
        about = event.signal_external_workflow_execution_initiated_event_attributes
        target = clean(about.workflow_execution.workflow_id)
        self.add(Kind.SIGNAL_SENT, event, time, target, workflow_id=target).detail = clean(about.signal_name)

    def signal_delivered(self, event: HistoryEvent, time: int) -> None:
        self.close(
            event.external_workflow_execution_signaled_event_attributes.initiated_event_id,
            time,
            State.COMPLETED,
        )

    def signal_not_delivered(self, event: HistoryEvent, time: int) -> None:
        about = event.signal_external_workflow_execution_failed_event_attributes
        self.close(about.initiated_event_id, time, State.FAILED, Fault("", "no such open workflow execution"))

    def cancel_sent(self, event: HistoryEvent, time: int) -> None:
        about = event.request_cancel_external_workflow_execution_initiated_event_attributes
        target = clean(about.workflow_execution.workflow_id)
        self.add(Kind.CANCEL_SENT, event, time, target, workflow_id=target).detail = clean(about.reason)

    def cancel_delivered(self, event: HistoryEvent, time: int) -> None:
        about = event.external_workflow_execution_cancel_requested_event_attributes
        self.close(about.initiated_event_id, time, State.COMPLETED)

    def cancel_not_delivered(self, event: HistoryEvent, time: int) -> None:
        about = event.request_cancel_external_workflow_execution_failed_event_attributes
        self.close(about.initiated_event_id, time, State.FAILED, Fault("", "no such open workflow execution"))

    def nexus_scheduled(self, event: HistoryEvent, time: int) -> None:
        about = event.nexus_operation_scheduled_event_attributes
        row = self.add(Kind.NEXUS, event, time, f"{about.service}.{about.operation}")
        row.detail = row.detail or clean(about.endpoint)

    def nexus_started(self, event: HistoryEvent, time: int) -> None:
        row = self.by_event.get(event.nexus_operation_started_event_attributes.scheduled_event_id)
        if row is not None:
            row.state = State.RUNNING

    def nexus_completed(self, event: HistoryEvent, time: int) -> None:
        about = event.nexus_operation_completed_event_attributes
        row = self.close(about.scheduled_event_id, time, State.COMPLETED)
        if row is not None:
            row.result = payload_text(about.result)

    def nexus_failed(self, event: HistoryEvent, time: int) -> None:
        about = event.nexus_operation_failed_event_attributes
        self.close(about.scheduled_event_id, time, State.FAILED, fault(about.failure))

    def nexus_canceled(self, event: HistoryEvent, time: int) -> None:
        self.close(event.nexus_operation_canceled_event_attributes.scheduled_event_id, time, State.CANCELED)

    def nexus_timed_out(self, event: HistoryEvent, time: int) -> None:
        about = event.nexus_operation_timed_out_event_attributes
        self.close(about.scheduled_event_id, time, State.TIMED_OUT, fault(about.failure))


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _iso(value: object) -> int | None:
    """RFC 3339 text -> ns; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        whole = datetime.fromisoformat(re.sub(r"\.\d+", "", value))
    except ValueError:
        return None
    fraction = re.search(r"\.(\d+)", value)
    return int(whole.timestamp()) * 1_000_000_000 + (
        int(fraction.group(1)[:9].ljust(9, "0")) if fraction else 0
    )


_E = EventType
_METHODS: dict[int, Callable[[_Reader, HistoryEvent, int], None]] = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: _Reader.started,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: _Reader.completed,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: _Reader.failed,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: _Reader.timed_out,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: _Reader.canceled,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: _Reader.terminated,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: _Reader.continued,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED: _Reader.paused,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED: _Reader.unpaused,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED: _Reader.options_updated,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _Reader.cancel_requested,
    _E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: _Reader.task_scheduled,
    _E.EVENT_TYPE_WORKFLOW_TASK_STARTED: _Reader.task_started,
    _E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: _Reader.task_completed,
    _E.EVENT_TYPE_WORKFLOW_TASK_FAILED: _Reader.task_failed,
    _E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: _Reader.task_timed_out,
    _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _Reader.activity_scheduled,
    _E.EVENT_TYPE_ACTIVITY_TASK_STARTED: _Reader.activity_started,
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: _Reader.activity_completed,
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: _Reader.activity_failed,
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: _Reader.activity_timed_out,
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: _Reader.activity_canceled,
    _E.EVENT_TYPE_TIMER_STARTED: _Reader.timer_started,
    _E.EVENT_TYPE_TIMER_FIRED: _Reader.timer_fired,
    _E.EVENT_TYPE_TIMER_CANCELED: _Reader.timer_canceled,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _Reader.signaled,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED: _Reader.update_admitted,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: _Reader.update_accepted,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: _Reader.update_completed,
    _E.EVENT_TYPE_MARKER_RECORDED: _Reader.marker,
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: _Reader.child_initiated,
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: _Reader.child_start_failed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: _Reader.child_started,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: _Reader.child_completed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: _Reader.child_failed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: _Reader.child_canceled,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: _Reader.child_timed_out,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: _Reader.child_terminated,
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: _Reader.signal_sent,
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _Reader.signal_not_delivered,
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: _Reader.signal_delivered,
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: _Reader.cancel_sent,
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _Reader.cancel_not_delivered,
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _Reader.cancel_delivered,
    _E.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED: _Reader.nexus_scheduled,
    _E.EVENT_TYPE_NEXUS_OPERATION_STARTED: _Reader.nexus_started,
    _E.EVENT_TYPE_NEXUS_OPERATION_COMPLETED: _Reader.nexus_completed,
    _E.EVENT_TYPE_NEXUS_OPERATION_FAILED: _Reader.nexus_failed,
    _E.EVENT_TYPE_NEXUS_OPERATION_CANCELED: _Reader.nexus_canceled,
    _E.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT: _Reader.nexus_timed_out,
}
