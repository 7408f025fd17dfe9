"""Folds a history into rows: one small method for each event type, applied in the order of the history.

What a workflow lets be done elsewhere (children, external workflows, Nexus operations, local activities) is in
`perdure.view.elsewhere`; the table that gives each event type its method is in `perdure.view.model`.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import RunRecords
from perdure.view.parts import Attempt, Kind, Row, State, Task, Timeline
from perdure.view.words import Fault, clean, duration, fault, nanoseconds, payload_text, payloads_text

# Ends of workflow tasks that are no fault of the workflow's code: the service takes the task back and gives a new one.
_HARMLESS = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_UPDATE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED,
}


class Reader:
    """What has been read of a run so far."""

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

    # --- timers, signals, updates

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
