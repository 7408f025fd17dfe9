"""The state of one run: values only.

`fold.apply` is the one place that changes it for an event, live and on recovery alike. What Temporal keeps in mutable state
without an event (attempts, stickiness, the buffer, admitted updates) stands here too, and changes in the decision modules.
All times are ns since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from temporalio.api.common.v1 import (
    Memo,
    Payloads,
    Priority,
    RetryPolicy,
    SearchAttributes,
    TimeSkippingConfig,
)
from temporalio.api.enums.v1 import SuggestContinueAsNewReason, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes,
    StartChildWorkflowExecutionInitiatedEventAttributes,
    WorkflowExecutionPausedEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.api.update.v1 import Outcome, Request
from temporalio.api.workflow.v1 import ResetPointInfo, VersioningOverride

from perdure.engine.protos import from_duration, from_timestamp
from perdure.engine.versions import Versioning

RUNNING = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
PAUSED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED


@dataclass(slots=True)
class WorkflowTask:
    """The pending workflow task; a run has one at most.

    `virtual`: its Scheduled and Started events are not in the history (yet): a later attempt ("transient"), or one made only to carry
    updates ("speculative"). Their ids are then those that the events will get.
    """

    scheduled_id: int
    scheduled_time: int
    attempt: int
    timeout: int
    queue: str
    sticky: bool = False
    virtual: bool = False
    speculative: bool = False
    original_scheduled_time: int = 0  # of the first in a chain of heartbeats
    started_id: int = 0  # 0 while it is not started
    started_time: int = 0
    identity: str = ""
    request_id: str = ""
    suggest_reasons: tuple[SuggestContinueAsNewReason.ValueType, ...] = ()  # to continue as new
    target_changed: bool = (
        False  # the version that its queue's routing leads to is another one than the run is pinned to
    )
    history_size: int = 0
    stamp: int = 0  # differs for each task that was ever offered, so that stale offers and tokens are known

    @property
    def started(self) -> bool:
        return self.started_id != 0


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused an activity, and why."""

    time: int
    identity: str = ""
    reason: str = ""


@dataclass(slots=True)
class Activity:
    """A pending activity. The attempt counts from 1; `due_time` is when the current attempt may start.

    `attributes` are the options that count now; where an operator changed them they are a copy, and the scheduled event keeps the
    original ones. A request that meets a running attempt (reset) is carried out when that attempt ends.
    """

    scheduled_id: int
    attributes: ActivityTaskScheduledEventAttributes
    scheduled_time: int
    due_time: int
    original: ActivityTaskScheduledEventAttributes
    attempt: int = 1
    started_time: int = 0  # 0 while the current attempt is not started
    started_as: int = 0  # the number it began with; a reset may have given it another
    identity: str = ""
    process: str = ""
    heartbeat_time: int = 0
    heartbeat_details: Payloads | None = None
    last_failure: Failure | None = None
    last_identity: str = ""
    last_ended_time: int = 0
    cancel_requested_id: int = 0
    offered: bool = False  # the current attempt lies in its task queue
    stamp: int = 0
    heartbeats: int = 0  # of all attempts
    paused: Pause | None = None
    reset: bool = False  # a reset was asked for while the attempt runs: it is told so with its next heartbeat
    clear_heartbeat: bool = False  # with that reset the heartbeat's details go
    restore_options: bool = (
        False  # likewise the operator's options (standalone activities; others get them back at once)
    )
    request_ids: dict[str, str] = field(default_factory=dict)  # of the last request of each operator's action
    standalone: bool = False  # it has no workflow: its run is its own
    start_delay: int = 0  # of a standalone activity
    original_start_delay: int = 0
    cancel_identity: str = ""  # who asked for the cancellation of a standalone activity, and why
    cancel_reason: str = ""
    sdk_name: str = ""  # of the worker that took the last attempt
    sdk_version: str = ""
    first_started_time: int = 0  # of the first attempt ever
    last_started_time: int = 0  # of the last attempt, running or not

    @property
    def id(self) -> str:
        return self.attributes.activity_id

    @property
    def type(self) -> str:
        return self.attributes.activity_type.name

    @property
    def policy(self) -> RetryPolicy:
        return self.attributes.retry_policy

    @property
    def started(self) -> bool:
        return self.started_time != 0

    @property
    def expiration(self) -> int | None:
        """When schedule-to-close runs out."""
        limit = from_duration(self.attributes.schedule_to_close_timeout)
        return self.scheduled_time + self.start_delay + limit if limit else None

    @property
    def retry_expiration(self) -> int | None:
        """After when no retry begins. Temporal fixes it when a workflow schedules the activity, whatever operators change later."""
        if self.standalone:
            return self.expiration
        limit = from_duration(self.original.schedule_to_close_timeout)
        return self.scheduled_time + limit if limit else None


@dataclass(slots=True)
class Timer:
    timer_id: str
    started_id: int
    fire_time: int


@dataclass(slots=True)
class Child:
    initiated_id: int
    attributes: StartChildWorkflowExecutionInitiatedEventAttributes
    started_id: int = 0
    run_id: str = ""


class UpdateStage(Enum):
    ADMITTED = auto()
    SENT = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    REJECTED = auto()


class UpdateAbort(Enum):
    """Why an update that was not accepted yet will never be."""

    CLOSED = auto()  # the run is closed
    CONTINUED = auto()  # likewise, and another run of the chain goes on: it may be tried there
    TASK_FAILED = auto()  # the workflow task that carried it was answered with nonsense


@dataclass(slots=True)
class Update:
    """An update of this run; in memory only until it is accepted."""

    update_id: str
    stage: UpdateStage
    request: Request | None = None
    accepted_id: int = 0
    outcome: Outcome | None = None
    aborted: bool = False  # accepted, and the run closed before it completed
    abort: UpdateAbort | None = None  # not accepted, and never to be
    sent_task: int = 0  # stamp of the workflow task that carried it
    admitted_id: int = (
        0  # of the event that admitted it: a reset's; the workflow then finds the request in the history
    )
    order: int = 0


@dataclass(frozen=True, slots=True)
class Buffered:
    seq: int
    event: HistoryEvent


@dataclass(slots=True)
class FastForward:
    """A one-shot jump that a time-skipping config asks for: how far, and whether it is done."""

    target: int
    reached: bool = False


@dataclass(slots=True)
class TimeSkipping:
    """How a run skips time; see `virtual_time`. `skipped`: by how much its clock is ahead of the real one."""

    config: TimeSkippingConfig | None
    skipped: int = 0
    session_skips: int = 0
    fast_forward: FastForward | None = None
    absorbed: int = 0  # of its events that lie in the buffer: they count already


@dataclass(slots=True)
class Execution:
    """One run."""

    namespace: str
    workflow_id: str
    run_id: str
    started: WorkflowExecutionStartedEventAttributes
    start_time: int
    division: str = ""  # "" for workflows; see records.ExecutionStarted
    events: list[HistoryEvent] = field(default_factory=list)
    history_size: int = 0
    status: int = RUNNING
    close_time: int = 0
    new_run_id: str = ""

    task: WorkflowTask | None = None
    task_attempt: int = 1  # of the next workflow task
    task_owed: bool = False  # the last one failed or timed out, and no event says yet that there is another
    task_problems: int = 0  # attempts in a row that came to nothing
    task_failures: int = 0  # failed since the last completed one; timeouts count from the second attempt on
    previous_started_id: int = 0  # started id of the last completed workflow task
    previous_completed_id: int = 0
    first_task_time: int = (
        0  # when the first workflow task is due (start delay, cron, retry); 0 once it was scheduled
    )
    sticky_queue: str = ""
    sticky_timeout: int = 0
    stamp: int = 0

    transitions: int = 0  # transactions that changed the run
    activity: Activity | None = None  # of a standalone activity: the run's only one, kept when it has ended
    activities: dict[int, Activity] = field(default_factory=dict)
    activity_ids: dict[str, int] = field(default_factory=dict)
    timers: dict[str, Timer] = field(default_factory=dict)
    children: dict[int, Child] = field(default_factory=dict)
    signals_out: dict[int, SignalExternalWorkflowExecutionInitiatedEventAttributes] = field(
        default_factory=dict
    )
    cancels_out: dict[int, RequestCancelExternalWorkflowExecutionInitiatedEventAttributes] = field(
        default_factory=dict
    )
    buffer: list[Buffered] = field(default_factory=list)
    buffer_seq: int = 0
    updates: dict[str, Update] = field(default_factory=dict)

    cancel_requested: bool = False
    close_attempted: bool = (
        False  # its last completion tried to close the run, but there was news for the workflow
    )
    signal_requests: dict[str, int] = field(default_factory=dict)  # id of its event; 0 while that is buffered
    signal_count: int = 0
    start_request_id: str = ""
    attached_request_ids: dict[str, int] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)
    search_attributes: SearchAttributes = field(default_factory=SearchAttributes)
    version: str = ""  # the definition version that the run is pinned to
    versioning: Versioning = field(default_factory=Versioning)
    priority: Priority = field(default_factory=Priority)

    paused: WorkflowExecutionPausedEventAttributes | None = None
    paused_time: int = 0

    reset_time: int = 0  # when this run was made, by resetting another; 0 for all others
    reset_of: list[str] = field(
        default_factory=list
    )  # the runs whose histories this one goes on from, oldest first
    reset_run_id: str = ""  # the run that was made by resetting this one
    reset_points: list[ResetPointInfo] = field(default_factory=list)

    skipping: TimeSkipping | None = None

    @property
    def skipped(self) -> int:
        """What to add to real time for this run's time."""
        return self.skipping.skipped if self.skipping is not None else 0

    @property
    def open(self) -> bool:
        return self.status in (RUNNING, PAUSED)

    @property
    def versioning_override(self) -> VersioningOverride | None:
        return self.versioning.override

    @property
    def attempt(self) -> int:
        """Of the pending workflow task, or the next one."""
        return self.task.attempt if self.task is not None else self.task_attempt

    @property
    def next_event_id(self) -> int:
        return len(self.events) + 1

    @property
    def first_run_id(self) -> str:
        return self.started.first_execution_run_id or self.run_id

    @property
    def workflow_type(self) -> str:
        return self.started.workflow_type.name

    @property
    def task_queue(self) -> str:
        return self.started.task_queue.name

    @property
    def task_timeout(self) -> int:
        return from_duration(self.started.workflow_task_timeout)

    @property
    def execution_expiration(self) -> int | None:
        """When the whole chain of runs must have ended; a reset gives it all its time again."""
        limit = from_duration(self.started.workflow_execution_timeout)
        if self.reset_time and limit:
            return self.reset_time + limit
        when = from_timestamp(self.started.workflow_execution_expiration_time)
        return when or None

    @property
    def run_expiration(self) -> int | None:
        """When this run must have ended; it is counted from the first workflow task's due time."""
        limit = from_duration(self.started.workflow_run_timeout)
        if not limit:
            return self.execution_expiration
        backoff = 0 if self.reset_time else from_duration(self.started.first_workflow_task_backoff)
        end = self.start_time + backoff + limit
        expiration = self.execution_expiration
        return end if expiration is None else min(end, expiration)

    def new_stamp(self) -> int:
        self.stamp += 1
        return self.stamp
