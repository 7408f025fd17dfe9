"""What a schedule does, and when: functions on its state and the time.

Times that come due are put into a buffer (`advance`); what may be started from it now is decided by the overlap policies (`next_step`).
The shell carries the step out and reports each start (`started`); the end of a started workflow comes back as `ended`. Each function
changes the state it is given, and touches nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payload, Payloads, SearchAttributes, WorkflowExecution
from temporalio.api.enums.v1 import ScheduleOverlapPolicy, WorkflowExecutionStatus, WorkflowIdReusePolicy
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import Schedule, ScheduleActionResult, SchedulePatch
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.engine.protos import MILLISECOND, SECOND, duration, from_duration, from_timestamp, timestamp
from perdure.engine.schedules.spec import Due, Times, TooManyExclusionsError, times
from perdure.engine.schedules.state import Start, State

_Overlap = ScheduleOverlapPolicy
_Status = WorkflowExecutionStatus
_DAY = 24 * 3600 * SECOND
_DEFAULT_CATCHUP, _LEAST_CATCHUP = 365 * _DAY, 10 * SECOND
_RETENTION = 7 * _DAY  # how long a schedule is kept that has nothing more to do
_BUFFER = 1000
_TIMES_AT_ONCE = 5000  # a fifth of a second's work
_BACKFILLS_AT_ONCE = 10
_BACKFILL_PAUSE = 1 * SECOND
RECENT_ACTIONS = 10
_ENDS_OTHER = (
    _Overlap.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER,
    _Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER,
)
_ONCE = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
_AGAIN = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
_ACTION_FIELDS = (
    "workflow_type",
    "task_queue",
    "input",
    "workflow_execution_timeout",
    "workflow_run_timeout",
    "workflow_task_timeout",
    "retry_policy",
    "memo",
    "header",
    "user_metadata",
    "priority",
)


# --- what users write


def set_schedule(state: State, schedule: Schedule) -> None:
    """Takes over what a user wrote, in canonical form, with the defaults filled in that describing shows."""
    state.schedule.CopyFrom(schedule)
    for name in ("spec", "action", "policies", "state"):
        getattr(state.schedule, name).SetInParent()
    policies = state.schedule.policies
    policies.overlap_policy = policies.overlap_policy or _Overlap.SCHEDULE_OVERLAP_POLICY_SKIP
    given = from_duration(policies.catchup_window) if policies.HasField("catchup_window") else None
    window = _DEFAULT_CATCHUP if given is None else max(given, _LEAST_CATCHUP)
    policies.catchup_window.CopyFrom(duration(window))


def create(state: State, now: int) -> None:
    state.processed = now
    state.info.create_time.CopyFrom(timestamp(now))


def update(state: State, schedule: Schedule, now: int) -> None:
    """Replaces the whole schedule; times before now are not looked at again."""
    set_schedule(state, schedule)
    state.info.update_time.CopyFrom(timestamp(now))
    state.token += 1


def patch(state: State, changes: SchedulePatch, now: int) -> None:
    if changes.HasField("trigger_immediately"):
        trigger = changes.trigger_immediately
        when = from_timestamp(trigger.scheduled_time) if trigger.HasField("scheduled_time") else now
        _buffer(state, Start(when, when, trigger.overlap_policy, manual=True))
    for backfill in changes.backfill_request:
        if len(state.backfills) >= _BUFFER:
            state.info.buffer_dropped += 1
            continue
        # a time that is the start itself belongs to the range
        begin = from_timestamp(backfill.start_time) - MILLISECOND
        state.backfills.append(type(backfill)())
        state.backfills[-1].CopyFrom(backfill)
        state.backfills[-1].start_time.CopyFrom(timestamp(begin))
    for notes, paused in ((changes.pause, True), (changes.unpause, False)):
        if notes:
            _pause(state, paused, notes)


def _pause(state: State, paused: bool, notes: str) -> None:
    state.schedule.state.paused = paused
    state.schedule.state.notes = notes
    state.token += 1


# --- time


def calendar(state: State) -> Times:
    """The times of the schedule; jitter is its own."""
    return times(
        state.schedule.spec.SerializeToString(deterministic=True), f"{state.namespace}-{state.schedule_id}"
    )


def next_time(state: State, after: int) -> Due | None:
    """The first time after `after`; None too when the specification excludes everything."""
    try:
        return calendar(state).next(after)
    except TooManyExclusionsError:
        return None


def may_act(state: State) -> bool:
    """Whether the schedule may start something by itself."""
    limits = state.schedule.state
    return not limits.paused and (not limits.limited_actions or limits.remaining_actions > 0)


def overlap(state: State, policy: int) -> int:
    return policy or state.schedule.policies.overlap_policy


def advance(state: State, now: int) -> None:
    """Puts into the buffer what came due since it was last looked, and a part of the backfills."""
    now = max(now, state.processed)
    if not may_act(state):
        state.processed = now
    else:
        _advance(state, now)
    left = _BACKFILLS_AT_ONCE
    while state.backfills and left > 0 and len(state.buffer) < _BUFFER // 2:
        left = _backfill(state, left)


def _advance(state: State, now: int) -> None:
    """Not all at once after a long absence: what is left is due at the next look, which comes at once."""
    window = from_duration(state.schedule.policies.catchup_window)
    updated = from_timestamp(state.info.update_time)
    for _ in range(_TIMES_AT_ONCE):
        due = next_time(state, state.processed)
        if due is None or due.actual > now:
            return
        state.processed = due.actual
        if due.actual < updated:
            continue
        if now - due.actual > window:
            state.info.missed_catchup_window += 1
        else:
            _buffer(state, Start(due.nominal, due.actual))


def _backfill(state: State, left: int) -> int:
    """Takes up to `left` times from the first backfill; returns how many more may be taken."""
    backfill = state.backfills[0]
    at, end = from_timestamp(backfill.start_time), from_timestamp(backfill.end_time)
    while (due := next_time(state, at)) is not None and due.actual <= end:
        if not left:
            backfill.start_time.CopyFrom(timestamp(at))
            return 0
        _buffer(state, Start(due.nominal, due.actual, backfill.overlap_policy, manual=True))
        at, left = due.actual, left - 1
    del state.backfills[0]
    return left


def _buffer(state: State, start: Start) -> None:
    if len(state.buffer) >= _BUFFER:
        state.info.buffer_dropped += 1
    else:
        state.buffer.append(start)


def wake_time(state: State, now: int) -> int | None:
    """When the schedule must be looked at again, if nothing happens before; None for never."""
    if _backfill_goes_on(state):
        return now + _BACKFILL_PAUSE
    due = next_time(state, state.processed) if may_act(state) else None
    return due.actual if due is not None else _expiration(state)


def _backfill_goes_on(state: State) -> bool:
    """Whether there are more backfills that need not wait for a workflow to end."""
    return bool(state.backfills) and (
        overlap(state, state.backfills[0].overlap_policy) == _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
    )


def is_over(state: State, now: int) -> bool:
    """Whether the schedule has had nothing to do for so long that it is given up."""
    due = next_time(state, state.processed) if may_act(state) else None
    end = _expiration(state) if due is None and not _backfill_goes_on(state) else None
    return end is not None and end <= now


def _expiration(state: State) -> int | None:
    if state.schedule.state.paused or state.buffer:
        return None
    times = [state.info.create_time, state.info.update_time]
    times += [action.actual_time for action in state.info.recent_actions[-1:]]
    return max(map(from_timestamp, times)) + _RETENTION


# --- starting


@dataclass(slots=True)
class Step:
    """What is to be done now. `again`: a start fell out, and the next in the buffer may take its place."""

    starts: list[Start] = field(default_factory=list)
    cancel: bool = False  # what is running
    terminate: bool = False
    again: bool = False


def next_step(state: State) -> Step:
    """Takes from the buffer what may be started now, as the overlap policies say."""
    if not state.schedule.action.HasField("start_workflow"):
        state.buffer = []
    step, alone = Step(), None
    kept: list[Start] = []
    running = bool(state.info.running_workflows)
    for start in state.buffer:
        policy = overlap(state, start.overlap)
        ends_other = policy in _ENDS_OTHER
        if policy == _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL:
            step.starts.append(start)
        elif not running and (alone is None or ends_other):
            alone = start  # the later one comes in place of one that has not even begun
        elif ends_other:
            kept.append(start)
            step.cancel |= policy == _Overlap.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER
            step.terminate |= policy == _Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER
        elif policy == _Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL or (
            policy == _Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE and not kept
        ):
            kept.append(start)
        else:
            state.info.overlap_skipped += 1
    state.buffer = kept
    wanted = [] if step.cancel or step.terminate else step.starts  # they would be ended at once
    wanted += [alone] if alone is not None else []
    step.starts = [start for start in wanted if _take(state, start)]
    step.again = len(step.starts) < len(wanted)
    return step


def _take(state: State, start: Start) -> bool:
    """Whether the start may be made; one of the limited actions is used up then."""
    if start.manual:
        return True
    if not may_act(state):
        return False
    if state.schedule.state.limited_actions:
        state.schedule.state.remaining_actions -= 1
        state.token += 1
    return True


def start_request(state: State, start: Start) -> StartWorkflowExecutionRequest:
    """The request that starts a workflow; its request id is never used twice by the schedule."""
    action = state.schedule.action.start_workflow
    apart = start.overlap == _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
    keep_id = state.schedule.policies.keep_original_workflow_id
    nominal = datetime.fromtimestamp(start.nominal // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    state.starts += 1
    request = StartWorkflowExecutionRequest(
        namespace=state.namespace,
        workflow_id=action.workflow_id if keep_id else f"{action.workflow_id}-{nominal}",
        identity=state.identity,
        request_id=f"{state.run_id}-{state.starts}",
        workflow_id_reuse_policy=_AGAIN if start.manual or keep_id else _ONCE,
        search_attributes=_stamped(action, nominal, state.schedule_id),
    )
    for name in _ACTION_FIELDS:
        if action.HasField(name):  # type: ignore[arg-type]
            getattr(request, name).CopyFrom(getattr(action, name))
    if not apart and state.last_result is not None:
        request.last_completion_result.CopyFrom(state.last_result)
    if not apart and state.last_failure is not None:
        request.continued_failure.CopyFrom(state.last_failure)
    return request


def _stamped(action: NewWorkflowExecutionInfo, nominal: str, schedule_id: str) -> SearchAttributes:
    """The action's search attributes, and where the workflow comes from."""
    attributes = SearchAttributes()
    attributes.CopyFrom(action.search_attributes)
    for name, value in (("TemporalScheduledStartTime", nominal), ("TemporalScheduledById", schedule_id)):
        payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())
        attributes.indexed_fields[name].CopyFrom(payload)
    return attributes


def started(state: State, start: Start, execution: WorkflowExecution, now: int) -> None:
    """A start was made. What may overlap is not waited for."""
    state.info.action_count += 1
    state.info.recent_actions.append(
        ScheduleActionResult(
            schedule_time=timestamp(start.actual),
            actual_time=timestamp(now),
            start_workflow_result=execution,
            start_workflow_status=_Status.WORKFLOW_EXECUTION_STATUS_RUNNING,
        )
    )
    del state.info.recent_actions[:-RECENT_ACTIONS]
    if overlap(state, start.overlap) != _Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL:
        state.info.running_workflows.append(execution)


@dataclass(frozen=True, slots=True)
class End:
    """How a started workflow ended. `status` is 0 when that cannot be known any more."""

    workflow_id: str
    first_run_id: str
    status: WorkflowExecutionStatus.ValueType
    result: Payloads | None = None
    failure: Failure | None = None


def watched(state: State) -> set[str]:
    """The first run ids of what the schedule started and believes to be running."""
    running = {execution.run_id for execution in state.info.running_workflows}
    return running | {
        action.start_workflow_result.run_id
        for action in state.info.recent_actions
        if action.start_workflow_status == _Status.WORKFLOW_EXECUTION_STATUS_RUNNING
    }


def ended(state: State, end: End) -> None:
    """A workflow of the schedule has ended: what comes after it learns how, and a failure may pause the schedule."""
    for action in state.info.recent_actions:
        if action.start_workflow_result.run_id == end.first_run_id:
            action.start_workflow_status = end.status
    running = [e for e in state.info.running_workflows if e.run_id == end.first_run_id]
    if not running:
        return
    state.info.running_workflows.remove(running[0])
    if state.schedule.policies.pause_on_failure and not state.schedule.state.paused:
        if end.status == _Status.WORKFLOW_EXECUTION_STATUS_FAILED:
            message = end.failure.message if end.failure is not None else ""
            _pause(state, True, f"paused due to workflow failure: {end.workflow_id}: {message}")
        elif end.status == _Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
            _pause(state, True, f"paused due to workflow timeout: {end.workflow_id}")
    if end.result is not None:
        state.last_result, state.last_failure = end.result, None
    elif end.failure is not None:
        state.last_failure = end.failure
