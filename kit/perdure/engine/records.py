"""What the engine asks the store to keep: one small value for each fact, only ever appended.

History events are Temporal's own messages. The other records hold what Temporal keeps in its mutable state
and forgets: attempts, heartbeats, events that wait in the buffer, the versions of definitions, printed output. The fold
of a run's records is its state (`perdure.engine.recovery`); the file's views are SQL over the same rows.

All times are integers, nanoseconds since 1970-01-01 UTC. Proto messages are kept as objects, serialised by the store's
writer thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from temporalio.api.common.v1 import Memo, Payloads, SearchAttributes
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo


@dataclass(frozen=True, slots=True)
class ExecutionStarted:
    """A run exists. One for each run.

    `division`: "" for workflows. What else the file keeps as runs has a division of its own, and stays out of the lists of
    workflows, like the TemporalNamespaceDivision of Temporal's server.
    """

    namespace: str
    workflow_id: str
    run_id: str
    first_run_id: str
    workflow_type: str
    task_queue: str
    start_time: int
    execution_time: int  # start_time + first workflow task backoff
    request_id: str = ""
    version: str = ""  # the definition version that the run is pinned to; "" when it is not pinned
    parent_workflow_id: str = ""
    parent_run_id: str = ""
    memo: Memo | None = None
    search_attributes: SearchAttributes | None = None
    root_workflow_id: str = ""
    root_run_id: str = ""
    division: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionChanged:
    """What lists show of an open run has changed: the full new values. `status`: Running or Paused."""

    run_id: str
    time: int
    version: str
    memo: Memo | None
    search_attributes: SearchAttributes | None
    status: int = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING


@dataclass(frozen=True, slots=True)
class ExecutionClosed:
    """A run ended. `status` is temporal.api.enums.v1.WorkflowExecutionStatus."""

    run_id: str
    status: int
    close_time: int
    history_length: int
    history_size_bytes: int
    new_run_id: str = ""
    state_transitions: int = 0


@dataclass(frozen=True, slots=True)
class ExecutionReset:
    """A run was reset: `new_run_id` goes on from a point of its history."""

    run_id: str
    time: int
    new_run_id: str


@dataclass(frozen=True, slots=True)
class VersionsNoted:
    """What no event says of how a run is tied to worker versions; `text`: see `perdure.engine.versions`."""

    run_id: str
    time: int
    text: str


@dataclass(frozen=True, slots=True)
class ExecutionDeleted:
    """A run is deleted, with all its records."""

    run_id: str
    time: int


@dataclass(frozen=True, slots=True)
class EventAppended:
    """A history event. `buffer_seq` names the `EventBuffered` record that it came from, if any."""

    run_id: str
    event: HistoryEvent
    buffer_seq: int | None = None


@dataclass(frozen=True, slots=True)
class EventBuffered:
    """An event that arrived while a workflow task was started; it has no event id yet."""

    run_id: str
    buffer_seq: int
    event: HistoryEvent


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A worker took an attempt of an activity (attempts count from 1)."""

    run_id: str
    scheduled_event_id: int
    attempt: int
    scheduled_time: int  # when this attempt became due
    started_time: int
    identity: str  # of the worker, as it polls
    process: str  # the process lease it polled under ("" for a foreign worker): see Project.attend
    sdk_name: str = ""
    sdk_version: str = ""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended. `outcome`: completed, failed, timed_out, canceled, or lost (its process died)."""

    run_id: str
    scheduled_event_id: int
    attempt: int
    ended_time: int
    outcome: str
    failure: Failure | None = None
    next_attempt_time: int | None = None  # when the next attempt is due; None when there is none


@dataclass(frozen=True, slots=True)
class ActivityChanged:
    """An operator did something to a pending activity; `info` is its whole state afterwards.

    `action`: pause, unpause, reset, update_options, and for standalone activities cancel, terminate. `deferred`: what waits for the
    end of the running attempt, words of "reset clear_heartbeat restore_options".
    """

    run_id: str
    scheduled_event_id: int
    time: int
    info: PendingActivityInfo
    action: str = ""
    identity: str = ""
    reason: str = ""
    request_id: str = ""
    deferred: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    run_id: str
    scheduled_event_id: int
    attempt: int
    time: int
    details: Payloads | None
    total: int = 0  # heartbeats of the activity so far, this one included


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a workflow or an activity, complete: executing `source` as module `module` defines it.

    `kind` is "workflow" or "activity"; `name` is the Temporal type name; `version` is a short hash of what the definition's
    behaviour depends on; `attribute` is the module-level name under which the source binds the definition.
    `origin` tells people where it came from (a cell's number, or a file path); `options` is JSON.
    """

    kind: str
    name: str
    version: str
    module: str
    attribute: str
    source: str
    origin: str = ""
    options: str = "{}"
    defined_time: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """Text that an activity attempt printed or logged. `stream`: stdout, stderr or log."""

    run_id: str
    scheduled_event_id: int
    attempt: int
    time: int
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A durable document that is not a run: a namespace, a search attribute, a schedule, a batch job, a worker deployment.

    The last one of (kind, namespace, id) counts; a body of None means that it is gone.
    """

    kind: str
    namespace: str
    id: str
    time: int
    body: bytes | None


Record: TypeAlias = (
    ExecutionStarted
    | ExecutionChanged
    | ExecutionClosed
    | ExecutionReset
    | VersionsNoted
    | ExecutionDeleted
    | ActivityChanged
    | Kept
    | EventAppended
    | EventBuffered
    | AttemptStarted
    | AttemptEnded
    | Heartbeat
    | Definition
    | Output
)


ActivityStep: TypeAlias = AttemptStarted | AttemptEnded | Heartbeat | ActivityChanged


@dataclass(slots=True)
class RunRecords:
    """All records of one run, in order: what recovery folds and what histories and timelines are drawn from."""

    started: ExecutionStarted
    events: list[HistoryEvent] = field(default_factory=list)
    buffered: list[EventBuffered] = field(default_factory=list)  # those not flushed into `events` yet
    attempt_starts: list[AttemptStarted] = field(default_factory=list)
    attempt_ends: list[AttemptEnded] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)  # the last one of each activity
    changed: ExecutionChanged | None = None  # the last one
    closed: ExecutionClosed | None = None
    activity_changes: list[ActivityChanged] = field(default_factory=list)  # in order
    # the attempts' starts and ends, the last heartbeats and the operators' changes, in the order in which they happened
    activity_steps: list[ActivityStep] = field(default_factory=list)
    reset: ExecutionReset | None = None  # the last one
    versions: VersionsNoted | None = None  # the last one
